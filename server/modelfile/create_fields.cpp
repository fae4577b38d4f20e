#include "server/modelfile/create_fields.h"

#include <boost/json.hpp>
#include <charconv>
#include <cmath>
#include <limits>
#include <optional>

namespace olx::server {
namespace json = boost::json;
namespace {

// The whole text as a number, with an optional sign; nullopt for anything else or a number out of range.
template <class Number>
std::optional<Number> number_in(std::string_view text) {
  if (text.starts_with('+') && !text.starts_with("+-")) text.remove_prefix(1);
  Number number{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

std::optional<bool> bool_in(std::string_view text) {
  for (const char* yes : {"1", "t", "T", "true", "True", "TRUE"})
    if (text == yes) return true;
  for (const char* no : {"0", "f", "F", "false", "False", "FALSE"})
    if (text == no) return false;
  return std::nullopt;
}

[[noreturn]] void invalid(const char* type, const std::string& value) {
  throw ModelfileError(std::string("invalid ") + type + " value [" + value + "]");
}

json::value typed(ParameterType type, const std::string& value) {
  switch (type) {
    case ParameterType::kInt:
      if (const auto number = number_in<int64_t>(value)) return *number;
      invalid("int", value);
    case ParameterType::kFloat: {
      // Options are 32-bit floats; JSON has no infinities.
      const auto number = number_in<double>(value);
      if (!number || !(std::fabs(*number) <= std::numeric_limits<float>::max())) invalid("float", value);
      return *number;
    }
    case ParameterType::kBool:
      if (const auto boolean = bool_in(value)) return *boolean;
      invalid("bool", value);
    default:
      return json::string(value);
  }
}

void add_parameter(const ModelfileCommand& command, CreateFields& fields) {
  const std::string& name = command.argument;
  const ParameterType* type = find_parameter_type(name);
  if (type == nullptr) throw ModelfileError("unknown parameter '" + name + "'");
  if (*type == ParameterType::kDeprecated) {
    fields.warnings.push_back("warning: parameter " + name + " is deprecated");
    return;
  }
  json::value& parameters = fields.body["parameters"];
  if (parameters.is_null()) parameters = json::object();
  json::value& slot = parameters.get_object()[name];
  if (name != "stop") {
    slot = typed(*type, command.value);
    return;
  }
  if (slot.is_null()) slot = json::array();
  slot.get_array().emplace_back(command.value);
}

bool is_number(std::string_view text) {
  if (text.empty() || (text.size() > 1 && text[0] == '0')) return false;
  return text.find_first_not_of("0123456789") == std::string_view::npos;
}

// What follows '-' or '+': identifiers of letters, digits and '-', separated by dots.
bool are_identifiers(std::string_view text) {
  for (;;) {
    const size_t dot = text.find('.');
    const std::string_view part = text.substr(0, dot);
    if (part.empty() || part.find_first_not_of("0123456789-abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") != std::string_view::npos)
      return false;
    if (dot == std::string_view::npos) return true;
    text.remove_prefix(dot + 1);
  }
}

// MAJOR[.MINOR[.PATCH[-PRERELEASE][+BUILD]]], https://semver.org with the short forms Go allows.
bool is_version(std::string_view text) {
  const size_t build = text.find('+');
  if (build != std::string_view::npos && !are_identifiers(text.substr(build + 1))) return false;
  std::string_view core = text.substr(0, build);
  const size_t prerelease = core.find('-');
  if (prerelease != std::string_view::npos && !are_identifiers(core.substr(prerelease + 1))) return false;
  const bool has_suffix = build != std::string_view::npos || prerelease != std::string_view::npos;
  core = core.substr(0, prerelease);
  int n_parts = 0;
  for (;;) {
    const size_t dot = core.find('.');
    if (!is_number(core.substr(0, dot)) || ++n_parts > 3) return false;
    if (dot == std::string_view::npos) return n_parts == 3 || !has_suffix;
    core.remove_prefix(dot + 1);
  }
}

void append(json::object& body, const char* name, json::value item) {
  json::value& list = body[name];
  if (list.is_null()) list = json::array();
  list.get_array().push_back(std::move(item));
}

}  // namespace

CreateFields create_fields(const Modelfile& modelfile) {
  CreateFields fields;
  for (const ModelfileCommand& command : modelfile) {
    const std::string& name = command.name;
    if (name == "from") fields.from.push_back(command.value);
    else if (name == "adapter") fields.adapter = command.value;
    else if (name == "draft") fields.draft = command.value;
    else if (name == "parameter") add_parameter(command, fields);
    else if (name == "license") append(fields.body, "license", json::string(command.value));
    else if (name == "message")
      append(fields.body, "messages", json::object{{"role", command.argument}, {"content", command.value}});
    else if (name == "requires") {
      const std::string version = command.value.starts_with('v') ? command.value.substr(1) : command.value;
      if (!is_version(version)) throw ModelfileError("requires must be a valid semver (e.g. 0.14.0)");
      fields.body["requires"] = version;
    } else {
      fields.body[name] = command.value;  // template, system, renderer, parser: the last one wins
    }
  }
  return fields;
}

}  // namespace olx::server
