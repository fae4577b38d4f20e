#include "engine/grammar/schema/json_schema.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <unordered_map>
#include <unordered_set>

#include "engine/grammar/schema/decimal_range.h"
#include "engine/grammar/schema/json_rules.h"
#include "engine/grammar/schema/schema_flat.h"
#include "engine/grammar/schema/string_format.h"
#include "engine/grammar/schema/string_pattern.h"
#include "engine/text/pretokenize/unicode.h"

namespace olx::engine {
namespace {

constexpr uint32_t kMaxExtraKeyChars = 64;  // of a property that is not declared

// The text of a schema, counted roughly as JSON, and its depth. Iterative: it comes before every limit.
size_t measure(const Value& schema, int max_depth) {
  size_t n_bytes = 0;
  std::vector<std::pair<const Value*, int>> todo{{&schema, 1}};
  while (!todo.empty()) {
    const auto [value, depth] = todo.back();
    todo.pop_back();
    // Twice the limit of schemas in schemas: "properties" is a level of JSON and none of schemas.
    if (depth > 2 * max_depth + 2) refuse_grammar("schema: nested deeper than " + std::to_string(max_depth));
    n_bytes += 4;
    if (const std::string* text = value->as_string()) n_bytes += text->size();
    if (const ValueList* list = value->as_list())
      for (const Value& one : *list) todo.emplace_back(&one, depth + 1);
    if (const ValueMap* map = value->as_map())
      for (const auto& [name, one] : *map) {
        n_bytes += name.size() + 4;
        todo.emplace_back(&one, depth + 1);
      }
  }
  return n_bytes;
}

class Compiler {
 public:
  Compiler(const Value& root, RuleSet& rules) : rules_(rules), json_(rules), flattener_(root, rules), root_(root) {}

  NodeId compile_root() {
    const NodeId node = compile(root_, 0);
    // Targets of references are compiled here and not where they are met, so that chains of them need no stack.
    while (!todo_.empty()) {
      const auto [schema, rule] = todo_.back();
      todo_.pop_back();
      rules_.define(rule, compile(*schema, 0));
    }
    return node;
  }

 private:
  static bool has_only(const ValueMap& map, std::string_view keyword) {
    return std::all_of(map.begin(), map.end(), [&](const auto& member) { return member.first == keyword || SchemaFlattener::is_annotation(member.first); });
  }

  NodeId compile(const Value& schema, int depth) {
    if (depth > rules_.limits().max_depth) refuse_grammar("schema: nested deeper than " + std::to_string(rules_.limits().max_depth));
    const ValueMap* map = schema.as_map();
    if (map == nullptr) return plain(flattener_.flatten(schema), depth);
    SchemaFlattener::check_keywords(*map);
    // A reference or a choice alone keeps its parts as rules: this is what lets schemas refer to themselves.
    const Value* reference = find_in(*map, "$ref");
    if (reference != nullptr && reference->as_string() != nullptr && has_only(*map, "$ref")) return call(flattener_.resolve(*reference->as_string()));
    for (const std::string_view name : {"anyOf", "oneOf", "allOf"}) {
      const Value* value = find_in(*map, name);
      if (value == nullptr || !has_only(*map, name)) continue;
      const ValueList* schemas = value->as_list();
      if (schemas == nullptr || schemas->empty() || (name == "allOf" && schemas->size() > 1)) break;
      if (name == "oneOf") (void)flattener_.flatten(schema);  // refuses alternatives that overlap
      std::vector<NodeId> alternatives;
      for (const Value& one : *schemas) alternatives.push_back(compile(one, depth + 1));
      return rules_.choice(std::move(alternatives));
    }
    return plain(flattener_.flatten(schema), depth);
  }

  NodeId call(const Value& target) {
    const auto [found, is_new] = references_.try_emplace(&target, 0);
    if (is_new) {
      found->second = rules_.new_rule();
      todo_.emplace_back(&target, found->second);
    }
    return rules_.call(found->second);
  }

  NodeId plain(const std::vector<FlatSchema>& schemas, int depth) {
    std::vector<NodeId> alternatives;
    for (const FlatSchema& schema : schemas) alternatives.push_back(plain(schema, depth));
    return rules_.choice(std::move(alternatives));
  }

  NodeId plain(const FlatSchema& schema, int depth) {
    if (schema.empty()) return json_.any_value();
    const std::vector<std::string> types = types_of(schema);
    if (const Value* values = find_in(schema, "enum")) return constants(schema, *values->as_list());
    const auto has = [&](std::string_view type) { return std::find(types.begin(), types.end(), type) != types.end(); };
    std::vector<NodeId> ways;
    if (has("object")) ways.push_back(rules_.as_rule(object(schema, depth)));
    if (has("array")) ways.push_back(rules_.as_rule(array(schema, depth)));
    if (has("string")) ways.push_back(rules_.as_rule(string(schema)));
    if (has("number")) ways.push_back(rules_.as_rule(number(schema, false)));
    else if (has("integer")) ways.push_back(rules_.as_rule(number(schema, true)));
    if (has("boolean")) ways.push_back(rules_.choice({rules_.literal("true"), rules_.literal("false")}));
    if (has("null")) ways.push_back(rules_.literal("null"));
    return rules_.choice(std::move(ways));
  }

  NodeId constants(const FlatSchema& schema, const ValueList& values) {
    for (const auto& [name, value] : schema)
      if (name != "enum" && name != "type") refuse_grammar("schema: '" + name + "' beside 'enum' or 'const' is not supported");
    const Value* type = find_in(schema, "type");
    std::vector<std::string> texts;
    for (const Value& value : values)
      if (type == nullptr || is_of_type(value, *type->as_list())) texts.push_back(json_text(value));
    return json_.one_of(std::move(texts));
  }

  static bool is_of_type(const Value& value, const ValueList& types) {
    return std::any_of(types.begin(), types.end(), [&](const Value& one) {
      const std::string& type = *one.as_string();
      if (value.is_null()) return type == "null";
      if (value.as_bool()) return type == "boolean";
      if (value.as_int()) return type == "integer" || type == "number";
      if (const double* d = value.as_double()) return type == "number" || (type == "integer" && *d == static_cast<double>(static_cast<int64_t>(std::clamp(*d, -9e18, 9e18))));
      if (value.as_string()) return type == "string";
      return type == (value.as_list() ? "array" : "object");
    });
  }

  // Bounds on how many: the lower one is limited, because so many must be written.
  std::pair<uint32_t, uint32_t> counts(const FlatSchema& schema, const char* least, const char* most) {
    const uint64_t min = count_of(schema, least, 0), max = count_of(schema, most, kUnbounded);
    if (min > rules_.limits().max_repetition)
      refuse_grammar("schema: '" + std::string(least) + "': expected at most " + std::to_string(rules_.limits().max_repetition) + ", got " + std::to_string(min));
    return {static_cast<uint32_t>(min), static_cast<uint32_t>(std::min<uint64_t>(max, kUnbounded))};
  }

  NodeId string(const FlatSchema& schema) {
    const auto [min, max] = counts(schema, "minLength", "maxLength");
    if (min > max) return rules_.nothing();
    const Value *pattern = find_in(schema, "pattern"), *format = find_in(schema, "format");
    std::string expression;
    if (pattern != nullptr) {
      if (pattern->as_string() == nullptr) refuse_grammar("schema: 'pattern' must be a string");
      expression = *pattern->as_string();
    }
    if (format != nullptr && format->as_string() == nullptr) refuse_grammar("schema: 'format' must be a string");
    if (format != nullptr && is_free_format(*format->as_string())) format = nullptr;
    if (format != nullptr) {
      const std::string* known = find_string_format(*format->as_string());
      if (known == nullptr) refuse_grammar("schema: the format '" + *format->as_string() + "' is not supported (supported: " + string_format_names() + ")");
      if (pattern != nullptr) refuse_grammar("schema: 'pattern' together with 'format' is not supported");
      expression = *known;
    }
    if (pattern == nullptr && format == nullptr) return json_.string(min, max);
    return rules_.sequence({rules_.literal("\""), pattern_text(expression, min, max, rules_, json_), rules_.literal("\"")});
  }

  NodeId number(const FlatSchema& schema, bool is_integer) {
    NumberBounds bounds;
    bounds.is_integer = is_integer;
    const auto read = [&](const char* name, bool is_least) -> std::optional<Decimal> {
      const Value* value = find_in(schema, name);
      if (value == nullptr || value->as_bool() != nullptr) return std::nullopt;
      // A whole number beyond 64 bits has been rounded on its way here: the bound is drawn in by more than that.
      const double* d = value->as_double();
      const auto decimal = to_decimal(d && std::fabs(*d) >= 0x1p63 ? Value(std::nextafter(*d, is_least ? INFINITY : -INFINITY)) : *value);
      if (!decimal) refuse_grammar("schema: '" + std::string(name) + "' must be a number of at most 40 digits, got " + json_text(*value));
      return decimal;
    };
    const auto is_true = [&](const char* name) {  // draft 4 had it as a flag beside the bound
      const Value* value = find_in(schema, name);
      return value != nullptr && value->as_bool() != nullptr && *value->as_bool();
    };
    bounds.lowest = read("minimum", true);
    bounds.excludes_lowest = is_true("exclusiveMinimum");
    if (const auto above = read("exclusiveMinimum", true); above && (!bounds.lowest || compare(*above, *bounds.lowest) >= 0)) {
      bounds.lowest = above;
      bounds.excludes_lowest = true;
    }
    bounds.highest = read("maximum", false);
    bounds.excludes_highest = is_true("exclusiveMaximum");
    if (const auto below = read("exclusiveMaximum", false); below && (!bounds.highest || compare(*below, *bounds.highest) <= 0)) {
      bounds.highest = below;
      bounds.excludes_highest = true;
    }
    if (const Value* format = find_in(schema, "format"); format && format->as_string()) {  // OpenAPI's widths; others are about texts
      const bool is_32 = *format->as_string() == "int32";
      if (is_32 || *format->as_string() == "int64") {
        const Decimal least = *to_decimal(is_32 ? int64_t{INT32_MIN} : INT64_MIN), most = *to_decimal(is_32 ? int64_t{INT32_MAX} : INT64_MAX);
        if (!bounds.lowest || compare(*bounds.lowest, least) < 0) {
          bounds.lowest = least;
          bounds.excludes_lowest = false;
        }
        if (!bounds.highest || compare(*bounds.highest, most) > 0) {
          bounds.highest = most;
          bounds.excludes_highest = false;
        }
      }
    }
    if (const Value* value = find_in(schema, "multipleOf")) {
      const auto step = to_decimal(*value);
      const bool is_whole = step && !step->is_negative && step->fraction.empty() && !step->whole.empty() && step->whole.size() <= 4;
      if (!is_whole || std::stoul(step->whole) > kMaxMultipleOf)
        refuse_grammar("schema: 'multipleOf': only whole numbers from 1 to " + std::to_string(kMaxMultipleOf) + " are supported, got " + json_text(*value));
      bounds.multiple_of = static_cast<uint32_t>(std::stoul(step->whole));
      bounds.is_integer = true;  // a multiple of a whole number is one
    }
    if (!bounds.is_integer && !bounds.lowest && !bounds.highest) return json_.number();
    return decimals_within(bounds, rules_);
  }

  NodeId array(const FlatSchema& schema, int depth) {
    const Value *items = find_in(schema, "items"), *prefix = find_in(schema, "prefixItems"), *more = find_in(schema, "additionalItems");
    if (items != nullptr && items->as_list() != nullptr) {  // draft 7's tuples
      prefix = items;
      items = more;
    }
    const auto [min, max] = counts(schema, "minItems", "maxItems");
    if (const Value* unique = find_in(schema, "uniqueItems"); unique && !(unique->as_bool() && !*unique->as_bool()) && max > 1)
      refuse_grammar("schema: 'uniqueItems' is not supported");
    if (min > max) return rules_.nothing();
    static const ValueList kNone;
    if (prefix != nullptr && prefix->as_list() == nullptr) refuse_grammar("schema: 'prefixItems' must be a list");
    const ValueList& first = prefix ? *prefix->as_list() : kNone;
    if (first.size() > rules_.limits().max_repetition)
      refuse_grammar("schema: 'prefixItems': expected at most " + std::to_string(rules_.limits().max_repetition) + ", got " + std::to_string(first.size()));
    const bool may_go_on = items == nullptr || !(items->as_bool() && !*items->as_bool());
    // Items behind a tuple that nothing is said about are written only where minItems asks for them.
    const auto n_first = static_cast<uint32_t>(first.size());
    const bool has_rest = may_go_on && (items != nullptr || n_first == 0 || min > n_first);
    const uint32_t least_rest = min > n_first ? min - n_first : 0;
    uint32_t most_rest = !has_rest || max <= n_first ? 0 : max == kUnbounded ? kUnbounded : max - n_first;
    if (items == nullptr && n_first > 0) most_rest = std::min(most_rest, least_rest);
    if (least_rest > most_rest) return rules_.nothing();
    // From the end: what may follow after i items.
    NodeId tail = rules_.empty();
    if (most_rest > 0) {
      const NodeId item = rules_.as_rule(items ? compile(*items, depth + 1) : json_.any_value());
      if (n_first == 0) {
        const NodeId others = rules_.repeat(rules_.sequence({json_.comma(), item}), least_rest > 0 ? least_rest - 1 : 0, most_rest == kUnbounded ? kUnbounded : most_rest - 1);
        return json_.enclosed('[', rules_.sequence({item, others}), least_rest == 0, ']');
      }
      tail = rules_.repeat(rules_.sequence({json_.comma(), item}), least_rest, most_rest);
    }
    if (n_first == 0 || max == 0) return json_.enclosed('[', rules_.nothing(), true, ']');
    for (uint32_t i = std::min(n_first, max); i-- > 0;) {
      const NodeId item = compile(first[i], depth + 1);
      const NodeId here = rules_.sequence({i == 0 ? item : rules_.sequence({json_.comma(), item}), tail});
      // Items 0 .. i are there after this one; it may be missing where fewer are enough.
      tail = rules_.as_rule(i > 0 && i >= min ? rules_.optional(here) : here);
    }
    return json_.enclosed('[', tail, min == 0, ']');
  }

  NodeId object(const FlatSchema& schema, int depth) {
    const Value *properties = find_in(schema, "properties"), *more = find_in(schema, "additionalProperties");
    static const ValueMap kNone;
    if (properties != nullptr && properties->as_map() == nullptr) refuse_grammar("schema: 'properties' must be an object");
    const ValueMap& declared = properties ? *properties->as_map() : kNone;
    std::unordered_set<std::string> names, required;
    for (const auto& [name, value] : declared) names.insert(name);
    std::vector<std::string> undeclared;  // required ones
    if (const Value* list = find_in(schema, "required")) {
      if (list->as_list() == nullptr) refuse_grammar("schema: 'required' must be a list");
      for (const Value& name : *list->as_list()) {
        if (name.as_string() == nullptr) refuse_grammar("schema: 'required' must be a list of strings");
        if (required.insert(*name.as_string()).second && !names.contains(*name.as_string())) undeclared.push_back(*name.as_string());
      }
    }
    const bool forbids_more = more != nullptr && more->as_bool() != nullptr && !*more->as_bool();
    if (!undeclared.empty() && forbids_more) return rules_.nothing();
    const bool has_more = more != nullptr ? !forbids_more : properties == nullptr;
    const auto [min, max] = counts(schema, "minProperties", "maxProperties");
    const uint64_t n_declared = declared.size() + undeclared.size();
    if (n_declared == 0 && !has_more) return min > 0 ? rules_.nothing() : json_.enclosed('{', rules_.nothing(), true, '}');
    if (n_declared == 0) {
      // Equal names make one property, so that more than one cannot be promised.
      if (min > 1) refuse_grammar("schema: 'minProperties' above 1 is not supported without properties that are required");
      if (max == 0) return json_.enclosed('{', rules_.nothing(), true, '}');
      if (more == nullptr && min == 0 && max == kUnbounded) return json_.any_object();
      const NodeId member = rules_.as_rule(extra_member({}, more, depth));
      const NodeId others = rules_.repeat(rules_.sequence({json_.comma(), member}), 0, max == kUnbounded ? kUnbounded : max - 1);
      return json_.enclosed('{', rules_.sequence({member, others}), min == 0, '}');
    }
    if (min > required.size()) refuse_grammar("schema: 'minProperties' above the number of required properties is not supported");
    if (max < n_declared) refuse_grammar("schema: 'maxProperties' below the number of declared properties is not supported");
    const uint32_t n_more = !has_more ? 0 : max == kUnbounded ? kUnbounded : static_cast<uint32_t>(max - n_declared);
    return members(declared, undeclared, required, names, n_more, more, depth);
  }

  // Two chains of rules, one for "nothing written yet" and one for "something is": their size is linear in the number of
  // properties, however many are optional.
  NodeId members(const ValueMap& declared, const std::vector<std::string>& undeclared, const std::unordered_set<std::string>& required,
                 std::unordered_set<std::string>& names, uint32_t n_more, const Value* more, int depth) {
    struct Property {
      NodeId member;
      bool is_required;
    };
    std::vector<Property> all;
    const auto key = [&](const std::string& name) { return rules_.sequence({json_.constant(Value(name)), json_.colon()}); };
    for (const auto& [name, schema] : declared) {
      const bool is_required = required.contains(name);
      // What may be left out and cannot be written is left out.
      if (!is_required && schema.as_bool() && !*schema.as_bool()) continue;
      all.push_back({rules_.as_rule(rules_.sequence({key(name), compile(schema, depth + 1)})), is_required});
    }
    for (const std::string& name : undeclared) {
      all.push_back({rules_.as_rule(rules_.sequence({key(name), more ? compile(*more, depth + 1) : json_.any_value()})), true});
      names.insert(name);
    }
    NodeId first = rules_.empty(), others = rules_.empty();  // what may follow when nothing, or something, is written
    if (n_more > 0) {
      const NodeId extra = rules_.as_rule(extra_member(names, more, depth)), next = rules_.sequence({json_.comma(), extra});
      others = rules_.as_rule(rules_.repeat(next, 0, n_more));
      first = rules_.sequence({extra, rules_.repeat(next, 0, n_more == kUnbounded ? kUnbounded : n_more - 1)});
    }
    const bool may_be_empty = std::none_of(all.begin(), all.end(), [](const Property& p) { return p.is_required; });
    // Without further members nothing follows "nothing is written": that is the empty object, which has its own place.
    if (n_more == 0) first = rules_.nothing();
    for (size_t i = all.size(); i-- > 0;) {
      const NodeId here = rules_.sequence({all[i].member, others});
      const NodeId next = rules_.sequence({json_.comma(), here});
      first = rules_.as_rule(all[i].is_required ? here : rules_.choice({here, first}));
      others = rules_.as_rule(all[i].is_required ? next : rules_.choice({next, others}));
    }
    return json_.enclosed('{', first, may_be_empty, '}');
  }

  NodeId extra_member(const std::unordered_set<std::string>& names, const Value* schema, int depth) {
    return rules_.sequence({rules_.literal("\""), other_name(names), rules_.literal("\""), json_.colon(),
                            schema ? compile(*schema, depth + 1) : json_.any_value(1)});
  }

  // Any text of plain characters that is none of the names: a tree of the names, left at every character where none goes on.
  NodeId other_name(const std::unordered_set<std::string>& names) {
    const auto plain = [&](uint32_t min) { return rules_.repeat(rules_.characters(plain_characters()), min, kMaxExtraKeyChars); };
    struct Place {
      std::unordered_map<uint32_t, size_t> next;
      bool is_name = false;
      RuleId rule = 0;
    };
    std::vector<Place> places(1);
    for (const std::string& name : names) {
      if (json_text(Value(name)).size() != name.size() + 2) continue;  // has an escape, and so is no text of plain characters
      size_t at = 0;
      for (size_t pos = 0; pos < name.size();) {
        const Utf8Char c = decode_utf8(name, pos);
        const auto [found, is_new] = places[at].next.try_emplace(c.code, places.size());
        at = found->second;
        if (is_new) places.emplace_back();
        pos += c.n_bytes;
      }
      places[at].is_name = true;
    }
    if (places.size() == 1) return plain(1);
    const NodeId rest = rules_.as_rule(plain(0));
    for (Place& place : places) place.rule = rules_.new_rule();
    for (size_t i = 0; i < places.size(); ++i) {
      std::vector<NodeId> ways;
      CodeRanges taken;
      for (const auto& [code, next] : places[i].next) {
        taken.push_back({code, code});
        ways.push_back(rules_.sequence({rules_.characters({{code, code}}), rules_.call(places[next].rule)}));
      }
      ways.push_back(rules_.sequence({rules_.characters(intersection(complement(taken), plain_characters())), rest}));
      if (!places[i].is_name && i != 0) ways.push_back(rules_.empty());
      rules_.define(places[i].rule, rules_.choice(std::move(ways)));
    }
    return rules_.call(places[0].rule);
  }

  RuleSet& rules_;
  JsonRules json_;
  SchemaFlattener flattener_;
  const Value& root_;
  std::unordered_map<const Value*, RuleId> references_;
  std::vector<std::pair<const Value*, RuleId>> todo_;
};

}  // namespace

NodeId compile_schema(const Value& schema, RuleSet& rules, size_t& n_bytes_left) {
  const size_t n_bytes = measure(schema, rules.limits().max_depth);
  if (n_bytes > n_bytes_left) refuse_grammar("the schema is too long: expected at most " + std::to_string(rules.limits().max_text_bytes) + " bytes");
  n_bytes_left -= n_bytes;
  return Compiler(schema, rules).compile_root();
}

}  // namespace olx::engine
