#include "engine/answer/call_reader.h"

#include <algorithm>
#include <utility>

#include "gguf/ascii.h"

namespace olx::engine {
namespace {

constexpr size_t kMaxCalls = 128;

ReadResult unfinished_at_end(LiteralReader& reader) {
  reader.skip_space();
  return reader.is_at_end() ? ReadResult::kUnfinished : ReadResult::kBroken;
}

bool is_name(std::string_view name) {
  return !name.empty() && name.size() <= 256 && name.find_first_of(" \t\r\n{}()\"<>") == std::string_view::npos;
}

// What a caller can use: a map. Arguments may have been written as a text that holds one, or left out.
bool as_arguments(const Value* value, Value& arguments) {
  if (!value || value->is_null()) return arguments = Value(ValueMap{}), true;
  if (value->as_map()) return arguments = *value, true;
  const std::string* text = value->as_string();
  if (!text) return false;
  if (ascii::trimmed(*text).empty()) return arguments = Value(ValueMap{}), true;
  LiteralReader reader(*text);
  return reader.read(arguments) == ReadResult::kWhole && arguments.as_map();
}

bool call_of(const Value& value, const ToolSet& tools, ToolCall& call) {
  if (!value.as_map()) return false;
  const Value* from = &value;
  if (const Value* function = value.find("function"); function && function->as_map()) from = function;
  for (const char* key : {"name", "tool_name", "function"}) {
    const Value* name = from->find(key);
    if (!name || !name->as_string() || !is_name(*name->as_string())) continue;
    call.name = *name->as_string();
    const Value* arguments = nullptr;
    for (const char* holder : {"arguments", "parameters", "args"})
      if (!arguments) arguments = from->find(holder);
    return as_arguments(arguments, call.arguments);
  }
  // {"get_weather": {"city": …}}
  const ValueMap& map = *value.as_map();
  if (map.size() != 1 || !tools.has(map[0].first)) return false;
  call.name = map[0].first;
  return as_arguments(&map[0].second, call.arguments);
}

bool add_calls(const Value& value, const ToolSet& tools, std::vector<ToolCall>& calls) {
  const ValueList one{value};
  const ValueList* list = value.as_list() ? value.as_list() : &one;
  for (const Value& item : *list) {
    ToolCall call;
    if (calls.size() >= kMaxCalls || !call_of(item, tools, call)) return false;
    calls.push_back(std::move(call));
  }
  return true;
}

CallsRead finished(LiteralReader& reader, std::vector<ToolCall> calls) {
  return {calls.empty() ? ReadResult::kBroken : ReadResult::kWhole, std::move(calls), reader.position()};
}

// name(key=value, …), one or more, maybe in a list.
CallsRead read_python(LiteralReader reader, const ToolSet& tools) {
  std::vector<ToolCall> calls;
  const bool is_list = reader.take("[");
  if (reader.take("python\n")) reader.skip_space();
  while (calls.size() < kMaxCalls) {
    ToolCall call;
    call.name = reader.take_name();
    if (!reader.take("(")) {
      if (!is_list && call.name.empty() && !calls.empty()) break;
      return {unfinished_at_end(reader), {}, 0};
    }
    if (call.name.empty()) return {};
    if (call.name.ends_with(".call") && !tools.has(call.name)) call.name.resize(call.name.size() - 5);
    ValueMap arguments;
    while (!reader.take(")")) {
      if (!arguments.empty() && !reader.take(",")) return {unfinished_at_end(reader), {}, 0};
      if (reader.take(")")) break;
      std::string key(reader.take_name());
      if (key.empty() || !reader.take("=")) return {unfinished_at_end(reader), {}, 0};
      Value value;
      if (const ReadResult result = reader.read(value); result != ReadResult::kWhole) return {result, {}, 0};
      arguments.emplace_back(std::move(key), std::move(value));
    }
    call.arguments = Value(std::move(arguments));
    calls.push_back(std::move(call));
    if (is_list && reader.take("]")) break;
    if (!reader.take(",") && !reader.take(";") && is_list) return {unfinished_at_end(reader), {}, 0};
  }
  return finished(reader, std::move(calls));
}

CallsRead read_json(std::string_view body, const ToolSet& tools) {
  LiteralReader reader(body);
  if (reader.take("```json") || reader.take("```")) reader.skip_space();
  reader.skip_space();
  if (!reader.is_at_end() && reader.peek() != '{' && reader.peek() != '[') return read_python(reader, tools);
  std::vector<ToolCall> calls;
  while (reader.skip_space(), !reader.is_at_end() && (reader.peek() == '{' || reader.peek() == '[')) {
    const size_t begin = reader.position();
    Value value;
    const ReadResult result = reader.read(value);
    if (result == ReadResult::kBroken && calls.empty() && body[begin] == '[') {
      reader.seek(begin);
      return read_python(reader, tools);
    }
    if (result != ReadResult::kWhole) return {result, {}, 0};
    if (!add_calls(value, tools, calls)) return {};
    if (!reader.take(";")) reader.take(",");
  }
  if (calls.empty()) return {unfinished_at_end(reader), {}, 0};
  reader.take("```");
  return finished(reader, std::move(calls));
}

CallsRead read_named(std::string_view body, const AnswerFormat& format, const ToolSet& tools) {
  const std::string_view start = ascii::trimmed(body);
  if (start.starts_with('[') || start.starts_with('{')) return read_json(body, tools);
  std::vector<ToolCall> calls;
  LiteralReader reader(body);
  for (;;) {
    const size_t brace = body.find('{', reader.position());
    std::string_view head = body.substr(reader.position(), brace == std::string_view::npos ? brace : brace - reader.position());
    if (const size_t at = head.find(format.name_after); at != std::string_view::npos) head.remove_prefix(at + format.name_after.size());
    head = ascii::trimmed(head);
    // Mistral's marks between name and arguments come in several kinds.
    const std::string_view until =
        format.name_until.starts_with('[') ? "[" : std::string_view(format.name_until);
    const std::string_view name = ascii::trimmed(head.substr(0, head.find(until)));
    if (brace == std::string_view::npos && calls.empty()) return {ReadResult::kUnfinished, {}, 0};
    if (brace == std::string_view::npos || !is_name(name)) break;
    ToolCall call;
    call.name = name;
    reader.seek(brace);
    if (const ReadResult result = reader.read(call.arguments); result != ReadResult::kWhole) return {result, {}, 0};
    calls.push_back(std::move(call));
    reader.take("```");
    // Mistral repeats the mark before each call.
    if (calls.size() >= kMaxCalls || !reader.take(format.call_open)) break;
  }
  return finished(reader, std::move(calls));
}

// A value that has no quotes of its own: a text where the tool says so, else JSON where it is JSON.
Value plain_value(std::string_view text, const ToolSet& tools, std::string_view tool, std::string_view key) {
  if (!tools.is_text(tool, key)) {
    LiteralReader reader(text);
    Value value;
    if (reader.read(value) == ReadResult::kWhole && (reader.skip_space(), reader.is_at_end())) return value;
  }
  return Value(text);
}

struct Tag {
  std::string_view prefix;  // "atem:" in <atem:invoke …>
  std::string_view word;    // "invoke"
  std::string_view name;
  bool is_text = false;     // DeepSeek: string="true"
};

// <word=name> or <word name="name" …>, the prefix may be empty. kUnfinished: it does not end.
ReadResult read_tag(std::string_view text, size_t& at, Tag& tag) {
  const size_t end = text.find('>', at);
  if (end == std::string_view::npos) return ReadResult::kUnfinished;
  std::string_view inside = text.substr(at + 1, end - at - 1);
  at = end + 1;
  const size_t word_end = inside.find_first_of(" =");
  std::string_view word = inside.substr(0, word_end);
  for (const char* known : {"function", "invoke", "parameter", "param"}) {
    if (!word.ends_with(known)) continue;
    tag.word = known;
    tag.prefix = word.substr(0, word.size() - tag.word.size());
    break;
  }
  if (tag.word.empty() || word_end == std::string_view::npos) return ReadResult::kBroken;
  inside.remove_prefix(word_end);
  if (inside.starts_with('=')) {
    tag.name = ascii::trimmed(inside.substr(1));
    if (tag.name.size() >= 2 && tag.name.front() == '"' && tag.name.back() == '"') tag.name = tag.name.substr(1, tag.name.size() - 2);
    return ReadResult::kWhole;
  }
  tag.is_text = inside.find("string=\"true\"") != std::string_view::npos;
  constexpr std::string_view kName = "name=\"";
  const size_t name = inside.find(kName);
  if (name == std::string_view::npos) return ReadResult::kBroken;
  inside.remove_prefix(name + kName.size());
  tag.name = inside.substr(0, inside.find('"'));
  return ReadResult::kWhole;
}

std::string_view without_cdata(std::string_view text) {
  constexpr std::string_view kOpen = "<![CDATA[", kClose = "]]>";
  if (!text.starts_with(kOpen) || !text.ends_with(kClose) || text.size() < kOpen.size() + kClose.size()) return text;
  return text.substr(kOpen.size(), text.size() - kOpen.size() - kClose.size());
}

// One line break after the opening and one before the closing tag belong to the layout.
std::string_view without_layout(std::string_view text) {
  if (text.starts_with('\n')) text.remove_prefix(1);
  if (text.ends_with('\n')) text.remove_suffix(1);
  return text;
}

CallsRead read_xml(std::string_view body, const ToolSet& tools) {
  std::vector<ToolCall> calls;
  size_t at = 0;
  size_t end_of_last = 0;
  for (at = body.find('<'); at != std::string_view::npos; at = body.find('<', at)) {
    Tag tag;
    const ReadResult read = read_tag(body, at, tag);
    if (read == ReadResult::kUnfinished) return calls.empty() ? CallsRead{read, {}, 0} : CallsRead{ReadResult::kWhole, std::move(calls), end_of_last};
    const bool is_call = tag.word == "function" || tag.word == "invoke";
    if (read == ReadResult::kBroken || !is_call) continue;  // the tag around the calls, or an end
    if (!is_name(tag.name) || calls.size() >= kMaxCalls) return {};
    ToolCall call;
    call.name = tag.name;
    ValueMap arguments;
    const std::string end_of_call = "</" + std::string(tag.prefix) + std::string(tag.word) + ">";
    for (;;) {
      LiteralReader reader(body);
      reader.seek(at);
      if (reader.take(end_of_call)) {
        at = reader.position();
        break;
      }
      reader.skip_space();
      at = reader.position();
      if (reader.is_at_end()) return {ReadResult::kUnfinished, {}, 0};
      if (reader.peek() == '{' && arguments.empty()) {
        Value map;
        if (const ReadResult result = reader.read(map); result != ReadResult::kWhole) return {result, {}, 0};
        if (!map.as_map()) return {};
        arguments = *map.as_map();
        at = reader.position();
        continue;
      }
      Tag parameter;
      if (reader.peek() != '<') return {};
      if (const ReadResult result = read_tag(body, at, parameter); result != ReadResult::kWhole) return {result, {}, 0};
      if (parameter.word != "parameter" && parameter.word != "param") return {};
      const std::string end_of_value = "</" + std::string(parameter.prefix) + std::string(parameter.word) + ">";
      const size_t end = body.find(end_of_value, at);
      if (end == std::string_view::npos) return {ReadResult::kUnfinished, {}, 0};
      const std::string_view text = without_cdata(without_layout(body.substr(at, end - at)));
      arguments.emplace_back(std::string(parameter.name),
                             parameter.is_text ? Value(text) : plain_value(text, tools, tag.name, parameter.name));
      at = end + end_of_value.size();
    }
    call.arguments = Value(std::move(arguments));
    calls.push_back(std::move(call));
    end_of_last = at;
  }
  if (calls.empty()) return {ReadResult::kUnfinished, {}, 0};
  return {ReadResult::kWhole, std::move(calls), end_of_last};
}

CallsRead read_pairs(std::string_view body, const ToolSet& tools) {
  constexpr std::string_view kKey = "<arg_key>", kKeyEnd = "</arg_key>", kValue = "<arg_value>", kValueEnd = "</arg_value>";
  ToolCall call;
  LiteralReader reader(body);
  const size_t first = body.find(kKey);
  call.name = ascii::trimmed(body.substr(0, first));
  if (!is_name(call.name)) return {};
  ValueMap arguments;
  reader.seek(std::min(first, body.size()));
  while (reader.take(kKey)) {
    const size_t key_begin = reader.position();
    const size_t key_end = body.find(kKeyEnd, key_begin);
    if (key_end == std::string_view::npos) return {ReadResult::kUnfinished, {}, 0};
    const std::string_view key = ascii::trimmed(body.substr(key_begin, key_end - key_begin));
    reader.seek(key_end + kKeyEnd.size());
    if (!reader.take(kValue)) return {unfinished_at_end(reader), {}, 0};
    const size_t value_begin = reader.position();
    const size_t value_end = body.find(kValueEnd, value_begin);
    if (value_end == std::string_view::npos) return {ReadResult::kUnfinished, {}, 0};
    arguments.emplace_back(std::string(key), plain_value(body.substr(value_begin, value_end - value_begin), tools, call.name, key));
    reader.seek(value_end + kValueEnd.size());
  }
  call.arguments = Value(std::move(arguments));
  std::vector<ToolCall> calls;
  calls.push_back(std::move(call));
  return finished(reader, std::move(calls));
}

CallsRead read_gemma(std::string_view body) {
  LiteralReader reader(body);
  std::vector<ToolCall> calls;
  if (!reader.take("call:")) return {unfinished_at_end(reader), {}, 0};
  ToolCall call;
  call.name = reader.take_name();
  reader.skip_space();
  if (call.name.empty() || reader.is_at_end() || reader.peek() != '{') return {unfinished_at_end(reader), {}, 0};
  if (const ReadResult result = reader.read(call.arguments); result != ReadResult::kWhole) return {result, {}, 0};
  calls.push_back(std::move(call));
  return finished(reader, std::move(calls));
}

}  // namespace

ToolSet::ToolSet(const Value& tools) {
  const ValueList* list = tools.as_list();
  if (!list) return;
  for (const Value& tool : *list) {
    const Value* function = tool.find("function") ? tool.find("function") : &tool;
    const Value* name = function->find("name");
    if (!name || !name->as_string()) continue;
    names_.push_back(*name->as_string());
    const Value* parameters = function->find("parameters");
    const Value* properties = parameters ? parameters->find("properties") : nullptr;
    if (!properties || !properties->as_map()) continue;
    for (const auto& [key, schema] : *properties->as_map())
      if (const Value* type = schema.find("type"); type && type->as_string() && *type->as_string() == "string")
        texts_.emplace_back(names_.back(), key);
  }
}

bool ToolSet::has(std::string_view name) const { return std::find(names_.begin(), names_.end(), name) != names_.end(); }

bool ToolSet::is_text(std::string_view tool, std::string_view parameter) const {
  return std::any_of(texts_.begin(), texts_.end(), [&](const auto& text) { return text.first == tool && text.second == parameter; });
}

CallsRead read_calls(std::string_view body, const AnswerFormat& format, const ToolSet& tools, bool is_bare) {
  CallsRead read;
  switch (format.syntax) {
    case CallSyntax::kNone: return {};
    case CallSyntax::kJson: read = read_json(body, tools); break;
    case CallSyntax::kHarmony: return {};
    case CallSyntax::kNamed: read = read_named(body, format, tools); break;
    case CallSyntax::kXml: read = read_xml(body, tools); break;
    case CallSyntax::kPairs: read = read_pairs(body, tools); break;
    case CallSyntax::kPython: read = read_python(LiteralReader(body), tools); break;
    case CallSyntax::kGemma: read = read_gemma(body); break;
  }
  const bool needs_declared = is_bare || format.call_open.starts_with("```");
  if (needs_declared && std::any_of(read.calls.begin(), read.calls.end(), [&](const ToolCall& call) { return !tools.has(call.name); })) return {};
  return read;
}

}  // namespace olx::engine
