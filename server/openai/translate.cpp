#include "server/openai/translate.h"

#include <boost/json.hpp>

namespace olx::server {
namespace {

namespace json = boost::json;

constexpr std::string_view kEfforts[][2] = {{"minimal", "low"}, {"low", "low"},  {"medium", "medium"}, {"high", "high"},
                                            {"xhigh", "max"},   {"max", "max"}, {"ultra", "max"}};

}  // namespace

void copy_sampling(const Fields& given, NativeRequest& native) {
  for (const char* name : {"temperature", "top_p"}) {
    if (!native.options.contains(name)) native.options[name] = 1.0;
    native.copy_number(given, name, name);
  }
  native.copy_number(given, "frequency_penalty", "frequency_penalty");
  native.copy_number(given, "presence_penalty", "presence_penalty");
  native.copy_integer(given, "seed", "seed");
}

void copy_max_tokens(const Fields& given, NativeRequest& native) {
  native.copy_integer(given, "max_tokens", "num_predict");
  native.copy_integer(given, "max_completion_tokens", "num_predict");
}

void copy_stop(const Fields& given, NativeRequest& native) {
  const json::value* stop = given.find("stop");
  if (stop == nullptr) return;
  json::array texts;
  if (stop->is_string()) texts.push_back(*stop);
  else if (stop->is_array()) texts = stop->get_array();
  else throw ApiError(400, "'stop' must be a string or an array of strings");
  for (const json::value& text : texts)
    if (!text.is_string()) throw ApiError(400, "invalid type for 'stop' field: an element is not a string");
  native.options["stop"] = std::move(texts);
}

int read_n_choices(const Fields& given) {
  const int64_t n = given.integer("n").value_or(1);
  if (n < 1 || n > kMaxChoices) throw ApiError(400, "'n' must be between 1 and " + std::to_string(kMaxChoices));
  return static_cast<int>(n);
}

bool read_includes_usage(const Fields& given) {
  const json::object* options = given.object("stream_options");
  return options != nullptr && Fields(*options, "StreamOptions").boolean("include_usage").value_or(false);
}

void set_effort(const std::string& effort, NativeRequest& native) {
  if (effort.empty()) return;
  if (effort == "none") {
    native.fields["think"] = false;
    return;
  }
  for (const auto& [name, level] : kEfforts) {
    if (effort != name) continue;
    native.fields["think"] = level;
    return;
  }
  throw ApiError(400, "invalid reasoning value: \"" + effort +
                          "\" (must be \"minimal\", \"low\", \"medium\", \"high\", \"xhigh\", \"ultra\", \"max\", or \"none\")");
}

void set_format(const Fields& format, const Fields& holder, NativeRequest& native) {
  const std::string type = format.text("type").value_or("");
  if (type == "json_object") {
    native.fields["format"] = "json";
  } else if (type == "json_schema") {
    const json::object* schema = holder.object("schema");
    if (schema == nullptr) throw ApiError(400, "a format of type json_schema needs a schema");
    native.fields["format"] = *schema;
  } else if (type != "text") {
    throw ApiError(400, "invalid format type: \"" + type + "\" (must be \"text\", \"json_object\" or \"json_schema\")");
  }
}

std::string template_role(const std::string& role) {
  if (role == "system" || role == "user" || role == "assistant" || role == "tool") return role;
  if (role == "developer") return "system";
  if (role == "function") return "tool";
  throw ApiError(400,
                 "invalid role: \"" + role +
                     "\" (must be \"system\", \"developer\", \"user\", \"assistant\" or \"tool\")");
}

engine::Value parse_arguments(const std::string& text) {
  if (text.empty()) return engine::ValueMap{};
  try {
    const json::value arguments = parse_json(text);
    if (arguments.is_null()) return engine::ValueMap{};
    if (arguments.is_object()) return to_value(arguments);
  } catch (const JsonError&) {  // said below, in the words for any other text
  }
  throw ApiError(400, "invalid tool call arguments");
}

std::string image_data(const std::string& url) {
  if (url.starts_with("http://") || url.starts_with("https://"))
    throw ApiError(400, "image URLs are not currently supported, please use base64 encoded data instead");
  for (const std::string_view head : {"data:image/jpeg;base64,", "data:image/jpg;base64,", "data:image/png;base64,",
                                      "data:image/webp;base64,", "data:;base64,"})
    if (url.starts_with(head)) return url.substr(head.size());
  throw ApiError(400, "invalid image input");
}

}  // namespace olx::server
