#include "server/store/layer_text.h"

#include <algorithm>
#include <boost/json.hpp>

#include "server/json/json.h"

namespace olx::server {
namespace json = boost::json;
namespace {

json::value parse(std::string_view text, const char* layer) {
  try {
    return parse_json(text);
  } catch (const JsonError& error) {
    throw gguf::FormatError(std::string(layer) + " layer: " + error.what());
  }
}

}  // namespace

Parameters parse_parameters(std::string_view text) {
  const engine::Value value = to_value(parse(text, "params"));
  if (value.is_null()) return {};
  const engine::ValueMap* map = value.as_map();
  if (map == nullptr) throw gguf::FormatError("params layer: not an object");
  Parameters parameters = *map;
  for (auto& [name, parameter] : parameters)
    if (name == "stop" && parameter.as_string() != nullptr) parameter = engine::ValueList{parameter};
  return parameters;
}

StoredMessages parse_messages(std::string_view text) {
  const engine::Value value = to_value(parse(text, "messages"));
  if (value.is_null()) return {};
  const engine::ValueList* list = value.as_list();
  if (list == nullptr) throw gguf::FormatError("messages layer: not an array");
  for (const engine::Value& message : *list) {
    const engine::Value* role = message.find("role");
    if (role == nullptr || role->as_string() == nullptr) throw gguf::FormatError("messages layer: a message has no role");
    const engine::Value* content = message.find("content");
    if (content != nullptr && content->as_string() == nullptr)
      throw gguf::FormatError("messages layer: a content is not text");
  }
  return *list;
}

std::string parameters_json(const Parameters& parameters) {
  Parameters sorted = parameters;
  std::stable_sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  return go_json(to_json(engine::Value(engine::ValueMap(sorted)))) + "\n";
}

std::string messages_json(const StoredMessages& messages) {
  json::array array;
  for (const engine::Value& message : messages) {
    const json::value written = to_json(message);
    json::object ordered;
    for (const char* name : {"role", "content", "thinking", "images", "tool_calls", "tool_name"})
      if (const engine::Value* member = message.find(name)) ordered[name] = to_json(*member);
    if (const json::object* object = written.if_object())
      for (const auto& member : *object) ordered.insert(member);
    array.push_back(std::move(ordered));
  }
  return go_json(array) + "\n";
}

}  // namespace olx::server
