#include "engine/answer/argument_grammar.h"

#include <algorithm>
#include <array>
#include <optional>

#include "engine/answer/literal_reader.h"
#include "engine/error.h"
#include "gguf/ascii.h"

namespace olx::engine {
namespace {

constexpr int kMaxDepth = 16;  // of schemas inside one another, where they are written here

// Text of any length without "</", with which the next tag would begin.
constexpr std::string_view kTextBeforeTag = R"([^<]* ("<"+ [^</] [^<]*)*)";
constexpr std::string_view kGemmaText = R"([^<]* ("<"+ [^<|] [^<]*)*)";

// Words of a schema that say nothing about what is valid.
constexpr std::array<std::string_view, 13> kNotes{
    "title", "description", "default", "examples",   "$schema",  "$id",      "$comment",
    "$defs", "definitions", "strict",  "deprecated", "readOnly", "writeOnly"};

const std::string* text_member(const Value& schema, std::string_view name) {
  const Value* value = schema.find(name);
  return value ? value->as_string() : nullptr;
}

std::optional<int64_t> count_member(const Value& schema, std::string_view name) {
  const Value* value = schema.find(name);
  if (!value) return std::nullopt;
  if (const int64_t* number = value->as_int()) return *number;
  if (const double* number = value->as_double(); number && *number >= 0 && *number < 1e9)
    return static_cast<int64_t>(*number);
  return std::nullopt;
}

// "{2,5}", "{2,}", or "*" where the schema bounds neither end.
std::string repetition(const Value& schema, std::string_view min_name, std::string_view max_name,
                       int64_t less = 0) {
  const auto min = count_member(schema, min_name), max = count_member(schema, max_name);
  if (!min && !max) return "*";
  return "{" + std::to_string(std::max<int64_t>(min.value_or(0) - less, 0)) + "," +
         (max ? std::to_string(std::max<int64_t>(*max - less, 0)) : "") + "}";
}

bool is_plain_name(std::string_view name) {
  const auto is_name_char = [](char c) {
    return ascii::is_alphanumeric(c) || c == '_' || c == '-' || c == '.';
  };
  return !name.empty() && name[0] != '-' && name[0] != '.' &&
         std::all_of(name.begin(), name.end(), is_name_char);
}

int64_t n_parts(const Value& value) {
  int64_t n = 1;
  if (const ValueList* list = value.as_list())
    for (const Value& item : *list) n += n_parts(item);
  if (const ValueMap* map = value.as_map())
    for (const auto& [key, member] : *map) n += n_parts(member);
  return n;
}

bool has_reference(const Value& schema) {
  if (schema.find("$ref")) return true;
  if (const ValueList* list = schema.as_list())
    return std::any_of(list->begin(), list->end(), has_reference);
  const ValueMap* map = schema.as_map();
  return map && std::any_of(map->begin(), map->end(),
                            [](const auto& member) { return has_reference(member.second); });
}

// The parameters as a schema of one object. Where they say nothing of further members, there are
// none: a model that may add what it likes seldom stops.
Value object_schema(const Value& schema) {
  const ValueMap* map = schema.as_map();
  if (!map || map->empty())
    return ValueMap{
        {"type", "object"}, {"properties", ValueMap{}}, {"additionalProperties", false}};
  for (const char* word : {"$ref", "anyOf", "oneOf", "allOf", "patternProperties"})
    if (schema.find(word)) return schema;
  ValueMap closed = *map;
  if (!schema.find("type")) closed.emplace_back("type", "object");
  if (schema.find("properties") && !schema.find("additionalProperties"))
    closed.emplace_back("additionalProperties", false);
  return closed;
}

}  // namespace

std::string gbnf_literal(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    if (c == '\n')
      out += "\\n";
    else if (c == '\r')
      out += "\\r";
    else if (c == '\t')
      out += "\\t";
    else
      out += c;
  }
  return out + "\"";
}

ArgumentGrammar::ArgumentGrammar(const AnswerFormat& format, std::string tool, std::string prefix,
                                 const Value& schema)
    : format_(format), tool_(std::move(tool)), prefix_(std::move(prefix)), schema_(schema) {}

void ArgumentGrammar::refuse(const std::string& what) const {
  throw EngineError(ErrorCode::kInvalidRequest,
                    "tool \"" + tool_ + "\": " + what +
                        " cannot be enforced in the way this model writes its calls");
}

void ArgumentGrammar::allow(const Value& schema,
                            std::initializer_list<std::string_view> words) const {
  if (!schema.as_map()) return;
  for (const auto& [word, value] : *schema.as_map()) {
    const bool is_known = std::find(words.begin(), words.end(), word) != words.end() ||
                          std::find(kNotes.begin(), kNotes.end(), word) != kNotes.end();
    if (!is_known) refuse("\"" + word + "\"");
  }
}

std::string ArgumentGrammar::rule(std::string_view body) {
  const std::string name = prefix_ + "-r" + std::to_string(n_rules_++);
  rules_ += name + " ::= " + std::string(body) + "\n";
  return name;
}

// A schema that stands inside the parameters still finds their definitions.
std::string ArgumentGrammar::json(const Value& schema) {
  Value whole = schema;
  if (ValueMap* map = whole.as_map(); map && &schema != &schema_ && has_reference(schema))
    for (const char* word : {"$defs", "definitions"})
      if (const Value* definitions = schema_.find(word); definitions && !schema.find(word)) {
        n_copied_ += n_parts(*definitions);
        if (n_copied_ > kMaxCopiedParts) refuse("a schema whose definitions are this large");
        map->emplace_back(word, *definitions);
      }
  schemas_.emplace_back(prefix_ + "-s" + std::to_string(schemas_.size()), std::move(whole));
  return schemas_.back().first;
}

std::string ArgumentGrammar::expression() {
  const std::string* type = text_member(schema_, "type");
  if (type && *type != "object") refuse("parameters of type \"" + *type + "\" (only \"object\")");
  switch (format_.syntax) {
    case CallSyntax::kXml:
      if (format_.call_open != "<function=") return tagged();
      break;
    case CallSyntax::kPairs:
      return tagged();
    case CallSyntax::kPython:
      return separated(properties_of(schema_, true), 0);
    case CallSyntax::kGemma:
      return "\"{\" (" + separated(properties_of(schema_, true), 0) + ") \"}\"";
    default:
      break;
  }
  return json(object_schema(schema_));
}

std::vector<ArgumentGrammar::Property> ArgumentGrammar::properties_of(const Value& schema,
                                                                      bool is_top) const {
  allow(schema, {"type", "properties", "required", "additionalProperties"});
  std::vector<Property> out;
  if (const Value* properties = schema.find("properties"); properties && properties->as_map())
    for (const auto& [name, property] : *properties->as_map())
      out.push_back({name, &property, false});
  const Value* required = schema.find("required");
  if (required && required->as_list())
    for (const Value& item : *required->as_list()) {
      const std::string* name = item.as_string();
      const auto found = std::find_if(out.begin(), out.end(), [&](const Property& property) {
        return name && property.name == *name;
      });
      if (found == out.end()) refuse("a required parameter that is not among the properties");
      found->is_required = true;
    }
  const bool is_tagged =
      is_top && (format_.syntax == CallSyntax::kXml || format_.syntax == CallSyntax::kPairs);
  for (const Property& property : out) {
    const bool is_sound =
        is_tagged ? !property.name.empty() &&
                        property.name.find_first_of("<>\"=\\\n\r\t ") == std::string_view::npos
                  : is_plain_name(property.name);
    if (!is_sound) refuse("the parameter \"" + std::string(property.name) + "\"");
  }
  if (!is_tagged)
    std::stable_partition(out.begin(), out.end(),
                          [](const Property& property) { return property.is_required; });
  return out;
}

std::string ArgumentGrammar::tagged() {
  std::string out;
  if (format_.syntax == CallSyntax::kPairs) out = "\"\\n\"? ";
  for (const Property& property : properties_of(schema_, true)) {
    const std::string element = tag(property);
    out += property.is_required ? element + " " : "(" + element + ")? ";
  }
  return out.empty() ? "\"\"" : out;
}

std::string ArgumentGrammar::tag(const Property& property) {
  const std::string name(property.name);
  const std::string* type = text_member(*property.schema, "type");
  const bool is_text = type && *type == "string";
  const std::string value =
      is_text ? plain_text(*property.schema, kTextBeforeTag) : json(*property.schema);
  const auto element = [&](const std::string& open, const std::string& close) {
    return gbnf_literal(open) + " " + value + " " + gbnf_literal(close);
  };
  if (format_.syntax == CallSyntax::kPairs)
    return gbnf_literal("<arg_key>" + name + "</arg_key>") + " \"\\n\"? " +
           element("<arg_value>", "</arg_value>") + " \"\\n\"?";
  if (format_.call_open.find("｜DSML｜") != std::string::npos)
    return element(
        "<｜DSML｜parameter name=\"" + name + "\" string=\"" + (is_text ? "true" : "false") + "\">",
        "</｜DSML｜parameter>\n");
  if (format_.call_open.starts_with("<atem:"))
    return element("<atem:parameter name=\"" + name + "\">", "</atem:parameter>\n");
  if (format_.call_open == "<function name=")
    return element("<param name=\"" + name + "\">", "</param>");
  if (format_.call_open == "<tool_call>")
    return element("<parameter=" + name + ">\n", "\n</parameter>\n");
  return element("<parameter name=\"" + name + "\">", "</parameter>\n");
}

// A text without quotes of its own.
std::string ArgumentGrammar::plain_text(const Value& schema, std::string_view any_text) {
  allow(schema, {"type", "enum", "const", "minLength", "maxLength"});
  std::string choices;
  const auto add = [&](const Value& value) {
    const std::string* text = value.as_string();
    if (!text) return;
    const std::string_view end = format_.syntax == CallSyntax::kGemma ? "<|" : "</";
    if (text->find(end) != std::string::npos) refuse("the value \"" + *text + "\"");
    choices += (choices.empty() ? "" : " | ") + gbnf_literal(*text);
  };
  const Value* fixed = schema.find("const");
  const Value* list = schema.find("enum");
  if (fixed)
    add(*fixed);
  else if (list && list->as_list())
    for (const Value& value : *list->as_list()) add(value);
  if ((fixed || list) && choices.empty()) refuse("a text with no possible value");
  if (!choices.empty()) return "(" + choices + ")";
  const std::string times = repetition(schema, "minLength", "maxLength");
  return times == "*" ? "(" + std::string(any_text) + ")" : "[^<]" + times;
}

std::string ArgumentGrammar::item(const Property& property, int depth) {
  if (format_.syntax == CallSyntax::kPython)
    return gbnf_literal(std::string(property.name) + "=") + " " + python_value(*property.schema);
  return gbnf_literal(std::string(property.name) + ":") + " " +
         gemma_value(*property.schema, depth + 1);
}

// Required ones are in front. With none, the first that is there has no comma before it, whichever
// that is.
std::string ArgumentGrammar::separated(const std::vector<Property>& properties, int depth) {
  const std::string comma = format_.syntax == CallSyntax::kPython ? "\", \" " : "\",\" ";
  std::string out;
  size_t n_required = 0;
  for (; n_required < properties.size() && properties[n_required].is_required; ++n_required)
    out += (n_required > 0 ? comma : "") + item(properties[n_required], depth) + " ";
  std::vector<std::string> optional;
  for (size_t i = n_required; i < properties.size(); ++i)
    optional.push_back(rule(item(properties[i], depth)));
  std::vector<std::string> tails(optional.size() +
                                 1);  // tails[i]: of optional ones, those from i on
  for (size_t i = optional.size(); i-- > 0;)
    tails[i] = rule("(" + comma + optional[i] + ")? " + tails[i + 1]);
  if (n_required > 0 || optional.empty()) {
    out += tails[0];
    return out.empty() ? "\"\"" : out;
  }
  for (size_t i = 0; i < optional.size(); ++i)
    out += (i > 0 ? " | " : "(") + optional[i] + " " + tails[i + 1];
  return out + ")?";
}

std::string ArgumentGrammar::python_value(const Value& schema) {
  const std::string* type = text_member(schema, "type");
  if (type && *type == "boolean" && !schema.find("enum") && !schema.find("const"))
    return "(\"True\" | \"False\")";
  if (type && *type == "null") return "\"None\"";
  return json(schema);
}

const Value* ArgumentGrammar::resolved(const Value& schema, int& depth) const {
  const Value* at = &schema;
  while (const std::string* reference = text_member(*at, "$ref")) {
    if (++depth > kMaxDepth) refuse("a schema that refers to itself");
    const Value* found = nullptr;
    for (const std::string_view place : {"#/$defs/", "#/definitions/"})
      if (reference->starts_with(place))
        if (const Value* holder = schema_.find(place.substr(2, place.size() - 3)))
          found = holder->find(reference->substr(place.size()));
    if (!found) refuse("\"$ref\": \"" + *reference + "\"");
    at = found;
  }
  return at;
}

std::string ArgumentGrammar::gemma_value(const Value& given, int depth) {
  if (depth > kMaxDepth) refuse("a schema nested deeper than " + std::to_string(kMaxDepth));
  if (++n_expanded_ > kMaxExpandedParts)
    refuse("a schema of more than " + std::to_string(kMaxExpandedParts) + " parts");
  const Value& schema = *resolved(given, depth);
  if (!schema.as_map() || schema.as_map()->empty()) return "gemma-any";
  std::string choices;
  const auto add = [&](const std::string& choice) {
    choices += (choices.empty() ? "" : " | ") + choice;
  };
  if (const Value* fixed = schema.find("const")) return gemma_literal(*fixed, depth);
  if (const Value* list = schema.find("enum"); list && list->as_list()) {
    for (const Value& value : *list->as_list()) add(gemma_literal(value, depth));
    return "(" + choices + ")";
  }
  for (const char* word : {"anyOf", "oneOf"})
    if (const Value* list = schema.find(word); list && list->as_list()) {
      allow(schema, {"anyOf", "oneOf", "type"});
      for (const Value& choice : *list->as_list()) add(gemma_value(choice, depth + 1));
      return "(" + choices + ")";
    }
  const Value* type = schema.find("type");
  if (type && type->as_list()) {
    for (const Value& one : *type->as_list())
      if (one.as_string()) add(gemma_of_type(schema, *one.as_string(), depth));
    return "(" + choices + ")";
  }
  if (type && type->as_string()) return gemma_of_type(schema, *type->as_string(), depth);
  if (schema.find("properties")) return gemma_of_type(schema, "object", depth);
  allow(schema, {});
  return "gemma-any";
}

std::string ArgumentGrammar::gemma_literal(const Value& value, int) const {
  if (const std::string* text = value.as_string()) {
    if (text->find("<|") != std::string::npos) refuse("the value \"" + *text + "\"");
    return gbnf_literal(std::string(kGemmaQuote) + *text + std::string(kGemmaQuote));
  }
  if (value.is_null()) return "\"null\"";
  if (const bool* flag = value.as_bool()) return *flag ? "\"true\"" : "\"false\"";
  if (const int64_t* number = value.as_int()) return gbnf_literal(std::to_string(*number));
  refuse("a fixed value that is not a text, a whole number, true, false or null");
}

std::string ArgumentGrammar::gemma_of_type(const Value& schema, std::string_view type, int depth) {
  if (type == "string") {
    Value text = schema;  // a type that is one of several is not the schema's own
    for (auto& [word, value] : *text.as_map())
      if (word == "type") value = Value("string");
    return gbnf_literal(kGemmaQuote) + " " + plain_text(text, kGemmaText) + " " +
           gbnf_literal(kGemmaQuote);
  }
  if (type == "array") return gemma_list(schema, depth);
  if (type == "object") {
    if (!schema.find("properties"))
      return allow(schema, {"type", "additionalProperties"}), "gemma-map";
    return "\"{\" (" + separated(properties_of(schema, false), depth) + ") \"}\"";
  }
  if (type == "boolean") return "(\"true\" | \"false\")";
  if (type == "null") return "\"null\"";
  if (type != "number" && type != "integer") refuse("the type \"" + std::string(type) + "\"");
  ValueMap number;
  for (const auto& [word, value] : *schema.as_map())
    number.emplace_back(word, word == "type" ? Value(type) : value);
  return json(Value(std::move(number)));
}

std::string ArgumentGrammar::gemma_list(const Value& schema, int depth) {
  allow(schema, {"type", "items", "minItems", "maxItems"});
  const Value* items = schema.find("items");
  const std::string element = rule(items ? gemma_value(*items, depth + 1) : "gemma-any");
  if (count_member(schema, "maxItems") == 0) return "\"[]\"";
  const std::string more =
      "(\",\" " + element + ")" + repetition(schema, "minItems", "maxItems", 1);
  const bool may_be_empty = count_member(schema, "minItems").value_or(0) == 0;
  return "\"[\" (" + element + " " + more + ")" + (may_be_empty ? "?" : "") + " \"]\"";
}

}  // namespace olx::engine
