#include "server/api/tool_choice.h"

#include <algorithm>
#include <boost/json.hpp>

#include "server/http/api_error.h"

namespace olx::server {
namespace {

namespace json = boost::json;

ToolChoice::Kind kind_of_choice(std::string_view mode) {
  if (mode == "none") return ToolChoice::Kind::kNone;
  if (mode == "auto") return ToolChoice::Kind::kAuto;
  if (mode == "required") return ToolChoice::Kind::kRequired;
  throw ApiError(400, "invalid tool_choice: \"" + std::string(mode) +
                          "\" (must be \"none\", \"auto\", \"required\" or a function)");
}

std::string function_name(const Fields& choice) {
  const json::object* function = choice.object("function");
  return (function ? Fields(*function, "ToolChoiceFunction").text("name") : choice.text("name"))
      .value_or("");
}

// Chat completions hold the mode and the tools in a member of their own, responses do not.
void read_allowed(const Fields& given, ToolChoice& choice) {
  const json::object* inner = given.object("allowed_tools");
  if (inner != nullptr) return read_allowed(Fields(*inner, "AllowedTools"), choice);
  choice.kind = kind_of_choice(given.text("mode").value_or("auto"));
  if (const json::array* tools = given.array("tools"))
    for (const json::value& tool : *tools)
      if (tool.is_object())
        choice.allowed.push_back(function_name(Fields(tool.get_object(), "AllowedTool")));
  if (choice.allowed.empty()) throw ApiError(400, "tool_choice allows no tool");
}

std::string_view name_of(const json::value& tool) {
  const json::object* object = tool.if_object();
  if (const json::value* function = object ? object->if_contains("function") : nullptr;
      function && function->is_object())
    object = &function->get_object();
  const json::value* name = object ? object->if_contains("name") : nullptr;
  return name && name->is_string() ? std::string_view(name->get_string()) : std::string_view();
}

}  // namespace

ToolChoice read_tool_choice(const Fields& given) {
  ToolChoice choice;
  choice.allows_parallel = given.boolean("parallel_tool_calls").value_or(true);
  const json::value* value = given.find("tool_choice");
  if (value == nullptr) return choice;
  if (value->is_string()) {
    choice.kind = kind_of_choice(value->get_string());
    return choice;
  }
  const Fields named(*given.object("tool_choice"), "ToolChoice");
  const std::string type = named.text("type").value_or("");
  if (type == "allowed_tools") {
    read_allowed(named, choice);
    return choice;
  }
  if (type != "function")
    throw ApiError(400, "invalid tool_choice type: \"" + type +
                            "\" (only \"function\" and \"allowed_tools\" are supported)");
  choice.kind = ToolChoice::Kind::kNamed;
  choice.name = function_name(named);
  if (choice.name.empty()) throw ApiError(400, "tool_choice names no function");
  return choice;
}

json::array offered_tools(const json::array& tools, const ToolChoice& choice) {
  if (choice.kind == ToolChoice::Kind::kNone) return {};
  const auto check = [&](const std::string& name) {
    if (std::none_of(tools.begin(), tools.end(),
                     [&](const json::value& tool) { return name_of(tool) == name; }))
      throw ApiError(400, "tool_choice names \"" + name + "\", which is not among the tools");
  };
  if (choice.must_call() && tools.empty())
    throw ApiError(400, "tool_choice asks for a call, but there are no tools");
  if (choice.kind == ToolChoice::Kind::kNamed) check(choice.name);
  for (const std::string& name : choice.allowed) check(name);
  if (choice.allowed.empty()) return tools;
  json::array offered;
  for (const json::value& tool : tools)
    if (std::find(choice.allowed.begin(), choice.allowed.end(), name_of(tool)) !=
        choice.allowed.end())
      offered.push_back(tool);
  return offered;
}

}  // namespace olx::server
