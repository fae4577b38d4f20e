#include "engine/grammar/schema/json_rules.h"

#include <algorithm>
#include <charconv>

namespace olx::engine {
namespace {

std::string code_escape(uint32_t code) {  // of a control character
  constexpr char kHex[] = "0123456789abcdef";
  return {'\\', 'u', '0', '0', kHex[code >> 4], kHex[code & 15]};
}

void append_json_string(std::string& out, std::string_view text) {
  out += '"';
  for (char c : text) {
    switch (c) {
      case '"': out += "\\\""; break;
      case '\\': out += "\\\\"; break;
      case '\n': out += "\\n"; break;
      case '\r': out += "\\r"; break;
      case '\t': out += "\\t"; break;
      default:
        if (static_cast<uint8_t>(c) < 0x20) out += code_escape(static_cast<uint8_t>(c));
        else out += c;
    }
  }
  out += '"';
}

void append_json(std::string& out, const Value& value, int depth) {
  if (depth > 64) refuse_grammar("schema: a value is nested deeper than 64");
  if (value.is_null()) {
    out += "null";
  } else if (const bool* b = value.as_bool()) {
    out += *b ? "true" : "false";
  } else if (const int64_t* i = value.as_int()) {
    out += std::to_string(*i);
  } else if (const double* d = value.as_double()) {
    out += double_text(*d);
  } else if (const std::string* s = value.as_string()) {
    append_json_string(out, *s);
  } else if (const ValueList* list = value.as_list()) {
    out += '[';
    for (size_t i = 0; i < list->size(); ++i) {
      if (i > 0) out += ',';
      append_json(out, (*list)[i], depth + 1);
    }
    out += ']';
  } else if (const ValueMap* map = value.as_map()) {
    out += '{';
    for (size_t i = 0; i < map->size(); ++i) {
      if (i > 0) out += ',';
      append_json_string(out, (*map)[i].first);
      out += ':';
      append_json(out, (*map)[i].second, depth + 1);
    }
    out += '}';
  }
}

ByteSet byte_set(std::string_view bytes) {
  ByteSet set;
  for (char c : bytes) set.set(static_cast<uint8_t>(c));
  return set;
}

}  // namespace

std::string double_text(double number) {
  char text[32];
  return {text, std::to_chars(text, text + sizeof(text), number).ptr};
}

const CodeRanges& plain_characters() {
  static const CodeRanges kPlain = complement({{0, 0x1F}, {'"', '"'}, {'\\', '\\'}});
  return kPlain;
}

std::string json_text(const Value& value) {
  std::string out;
  append_json(out, value, 0);
  return out;
}

NodeId JsonRules::cached(const char* name, int level, NodeId (JsonRules::*make)(int)) {
  const auto found = cache_.find({name, level});
  if (found != cache_.end()) return rules_.call(found->second);
  const RuleId rule = rules_.new_rule();
  cache_.emplace(std::pair{name, level}, rule);
  rules_.define(rule, (this->*make)(level));
  return rules_.call(rule);
}

NodeId JsonRules::blank() { return cached("blank", 0, &JsonRules::make_blank); }
NodeId JsonRules::character() { return cached("character", 0, &JsonRules::make_character); }
NodeId JsonRules::number() { return cached("number", 0, &JsonRules::make_number); }
NodeId JsonRules::any_value(int level) { return cached("value", level, &JsonRules::make_value); }
NodeId JsonRules::any_object(int level) { return cached("object", level, &JsonRules::make_object); }
NodeId JsonRules::any_array(int level) { return cached("array", level, &JsonRules::make_array); }

NodeId JsonRules::make_blank(int) {
  const NodeId indent = rules_.repeat(rules_.bytes(byte_set(" \t")), 0, kMaxIndentBlanks);
  return rules_.optional(rules_.choice({rules_.literal(" "), rules_.sequence({rules_.literal("\n"), indent})}));
}

NodeId JsonRules::make_character(int) {
  const NodeId hex = rules_.bytes(byte_set("0123456789abcdefABCDEF"));
  // Surrogates are left out: half a pair is no character, and a whole one can be written as itself.
  const NodeId code = rules_.choice({rules_.sequence({rules_.bytes(byte_set("0123456789abcefABCEF")), hex, hex, hex}),
                                     rules_.sequence({rules_.bytes(byte_set("dD")), rules_.bytes(byte_set("01234567")), hex, hex})});
  const NodeId escape = rules_.choice({rules_.bytes(byte_set("\"\\/bfnrt")), rules_.sequence({rules_.literal("u"), code})});
  return rules_.choice({rules_.characters(plain_characters()), rules_.sequence({rules_.literal("\\"), escape})});
}

NodeId JsonRules::string(uint32_t min, uint32_t max) {
  return rules_.sequence({rules_.literal("\""), rules_.repeat(character(), min, max), rules_.literal("\"")});
}

NodeId JsonRules::make_number(int) {
  const NodeId digit = rules_.bytes(byte_set("0123456789"));
  const NodeId whole = rules_.choice({rules_.literal("0"), rules_.sequence({rules_.bytes(byte_set("123456789")), rules_.repeat(digit, 0, kMaxNumberDigits - 1)})});
  const NodeId fraction = rules_.sequence({rules_.literal("."), rules_.repeat(digit, 1, kMaxNumberDigits)});
  const NodeId exponent = rules_.sequence({rules_.bytes(byte_set("eE")), rules_.optional(rules_.bytes(byte_set("+-"))), rules_.repeat(digit, 1, 2)});
  return rules_.sequence({rules_.optional(rules_.literal("-")), whole, rules_.optional(fraction), rules_.optional(exponent)});
}

NodeId JsonRules::make_value(int level) {
  std::vector<NodeId> kinds{string(0, kUnbounded), number(), rules_.literal("true"), rules_.literal("false"), rules_.literal("null")};
  if (level < kMaxFreeNesting) {
    kinds.push_back(any_object(level));
    kinds.push_back(any_array(level));
  }
  return rules_.choice(std::move(kinds));
}

NodeId JsonRules::make_object(int level) {
  const NodeId member = rules_.as_rule(rules_.sequence({string(0, kUnbounded), colon(), any_value(level + 1)}));
  const NodeId members = rules_.sequence({member, rules_.repeat(rules_.sequence({comma(), member}), 0)});
  return enclosed('{', members, true, '}');
}

NodeId JsonRules::make_array(int level) {
  const NodeId item = any_value(level + 1);
  const NodeId items = rules_.sequence({item, rules_.repeat(rules_.sequence({comma(), item}), 0)});
  return enclosed('[', items, true, ']');
}

NodeId JsonRules::constant(const Value& value) { return rules_.literal(json_text(value)); }

// Texts with a common beginning share it, so that thousands of them are not as many stacks.
NodeId JsonRules::one_of(std::vector<std::string> texts) {
  std::sort(texts.begin(), texts.end());
  texts.erase(std::unique(texts.begin(), texts.end()), texts.end());
  return one_of(texts, 0);
}

NodeId JsonRules::one_of(std::span<const std::string> sorted, size_t n_read) {
  std::vector<NodeId> ways;
  while (!sorted.empty()) {
    const std::string& first = sorted.front();
    if (first.size() == n_read) {
      ways.push_back(rules_.empty());
      sorted = sorted.subspan(1);
      continue;
    }
    const auto end = std::find_if(sorted.begin(), sorted.end(), [&](const std::string& text) { return text[n_read] != first[n_read]; });
    const std::span<const std::string> group = sorted.first(static_cast<size_t>(end - sorted.begin()));
    const std::string& last = group.back();
    size_t n_common = n_read + 1;
    while (n_common < std::min(first.size(), last.size()) && first[n_common] == last[n_common]) ++n_common;
    const NodeId common = rules_.literal(std::string_view(first).substr(n_read, n_common - n_read));
    ways.push_back(group.size() == 1 ? rules_.literal(std::string_view(first).substr(n_read))
                                     : rules_.sequence({common, rules_.as_rule(one_of(group, n_common))}));
    sorted = sorted.subspan(group.size());
  }
  return rules_.choice(std::move(ways));
}

NodeId JsonRules::enclosed(char open, NodeId members, bool may_be_empty, char close) {
  const NodeId filled = rules_.sequence({members, blank()});
  return rules_.sequence({rules_.literal({&open, 1}), blank(), may_be_empty ? rules_.optional(filled) : filled, rules_.literal({&close, 1})});
}

NodeId JsonRules::comma() { return rules_.sequence({rules_.literal(","), blank()}); }
NodeId JsonRules::colon() { return rules_.sequence({rules_.literal(":"), blank()}); }

NodeId JsonRules::character_of(const CodeRanges& set) {
  std::vector<NodeId> ways{rules_.characters(intersection(set, plain_characters()))};
  for (const auto& [code, escape] : {std::pair<uint32_t, const char*>{'"', "\\\""}, {'\\', "\\\\"}, {'\n', "\\n"}, {'\t', "\\t"},
                                     {'\r', "\\r"}, {'\f', "\\f"}, {'\b', "\\b"}})
    if (contains(set, code)) ways.push_back(rules_.literal(escape));
  for (uint32_t code = 0; code < 0x20; ++code)
    if (contains(set, code) && std::string_view("\n\t\r\f\b").find(static_cast<char>(code)) == std::string_view::npos)
      ways.push_back(rules_.literal(code_escape(code)));
  return rules_.choice(std::move(ways));
}

}  // namespace olx::engine
