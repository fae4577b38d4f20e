#include "server/anthropic/messages_request.h"

#include <boost/json.hpp>

#include "server/api/native_request.h"

namespace olx::server {
namespace {

namespace json = boost::json;

const json::object& block_of(const json::value& value) {
  if (!value.is_object()) throw ApiError(400, "a content block must be an object");
  return value.get_object();
}

std::string base64_image(const Fields& block) {
  const json::object* source = block.object("source");
  if (source == nullptr) throw ApiError(400, "invalid image source");
  const Fields fields(*source, "ImageSource");
  const std::string type = fields.text("type").value_or("");
  if (type != "base64") throw ApiError(400, "invalid image source type: " + type + ". Only base64 images are supported.");
  return fields.text("data").value_or("");
}

// Text, or blocks of text and images, into the message.
void read_text_and_images(const json::value& content, engine::ChatMessage& message) {
  if (content.is_string()) {
    message.content = content.get_string();
    return;
  }
  if (!content.is_array()) throw ApiError(400, "content must be a string or an array of blocks");
  for (const json::value& value : content.get_array()) {
    const Fields block(block_of(value), "ContentBlock");
    const std::string type = block.text("type").value_or("");
    if (type == "text") message.content += block.text("text").value_or("");
    else if (type == "image") message.images.push_back(base64_image(block));
    else throw ApiError(400, "content of type \"" + type + "\" is not supported here");
  }
}

engine::ChatMessage tool_result(const Fields& block, const ToolNames& tool_names) {
  engine::ChatMessage message;
  message.role = "tool";
  message.tool_call_id = block.text("tool_use_id").value_or("");
  message.tool_name = tool_names.of(message.tool_call_id);
  if (const json::value* content = block.find("content")) read_text_and_images(*content, message);
  if (block.boolean("is_error").value_or(false)) message.content = "Error: " + message.content;
  return message;
}

engine::ToolCall tool_use(const Fields& block) {
  engine::ToolCall call{block.text("id").value_or(""), block.text("name").value_or(""), engine::ValueMap{}};
  if (call.name.empty()) throw ApiError(400, "a tool_use block needs a name");
  if (const json::object* input = block.object("input")) call.arguments = to_value(*input);
  return call;
}

// One message of the protocol; results of tools are messages of their own and go before the text they come with.
void read_anthropic_message(const json::value& value, ToolNames& tool_names, std::vector<engine::ChatMessage>& out) {
  if (!value.is_object()) throw ApiError(400, "a message must be an object");
  const Fields fields(value.get_object(), "MessageParam");
  engine::ChatMessage message;
  message.role = fields.text("role").value_or("");
  if (message.role != "user" && message.role != "assistant" && message.role != "system")
    throw ApiError(400, "invalid role: \"" + message.role + "\" (must be \"user\" or \"assistant\")");
  const json::value* content = fields.find("content");
  if (content == nullptr) throw ApiError(400, "a message needs content");
  if (!content->is_array()) {
    read_text_and_images(*content, message);
    out.push_back(std::move(message));
    return;
  }
  bool has_results = false;
  for (const json::value& element : content->get_array()) {
    const Fields block(block_of(element), "ContentBlock");
    const std::string type = block.text("type").value_or("");
    if (type == "text") {
      message.content += block.text("text").value_or("");
    } else if (type == "image") {
      message.images.push_back(base64_image(block));
    } else if (type == "thinking") {
      message.thinking += block.text("thinking").value_or("");
    } else if (type == "tool_use") {
      message.tool_calls.push_back(tool_use(block));
    } else if (type == "tool_result") {
      out.push_back(tool_result(block, tool_names));
      has_results = true;
    } else if (type == "document" || type.empty()) {
      throw ApiError(400, "content of type \"" + type + "\" is not supported");
    }  // what else there is (redacted_thinking, server tools) is for Anthropic's own servers
  }
  tool_names.add(message.tool_calls);
  const bool is_empty = message.content.empty() && message.images.empty() && message.tool_calls.empty() && message.thinking.empty();
  if (!has_results || !is_empty) out.push_back(std::move(message));
}

// A tool as Ollama and OpenAI write it.
json::object read_tool(const json::value& value) {
  if (!value.is_object()) throw ApiError(400, "a tool must be an object");
  const Fields fields(value.get_object(), "Tool");
  const std::string type = fields.text("type").value_or("custom");
  if (type != "custom") throw ApiError(400, "tools of type \"" + type + "\" are not supported");
  const std::string name = fields.text("name").value_or("");
  if (name.empty()) throw ApiError(400, "a tool needs a name");
  json::object function{{"name", name}};
  if (const auto description = fields.text("description")) function["description"] = *description;
  const json::object* schema = fields.object("input_schema");
  function["parameters"] = schema ? *schema : json::object{{"type", "object"}, {"properties", json::object()}};
  return {{"type", "function"}, {"function", std::move(function)}};
}

ToolChoice read_anthropic_tool_choice(const Fields& fields) {
  ToolChoice choice;
  const json::object* given = fields.object("tool_choice");
  if (given == nullptr) return choice;
  const Fields named(*given, "ToolChoice");
  const std::string type = named.text("type").value_or("");
  choice.allows_parallel = !named.boolean("disable_parallel_tool_use").value_or(false);
  if (type == "none") choice.kind = ToolChoice::Kind::kNone;
  else if (type == "any") choice.kind = ToolChoice::Kind::kRequired;
  else if (type == "tool") choice.kind = ToolChoice::Kind::kNamed;
  else if (type != "auto") throw ApiError(400, "invalid tool_choice type: \"" + type + "\" (must be \"auto\", \"any\", \"tool\" or \"none\")");
  if (choice.kind == ToolChoice::Kind::kNamed) choice.name = named.text("name").value_or("");
  if (choice.kind == ToolChoice::Kind::kNamed && choice.name.empty()) throw ApiError(400, "tool_choice names no tool");
  return choice;
}

void read_thinking(const Fields& fields, NativeRequest& native) {
  if (const json::object* thinking = fields.object("thinking")) {
    const std::string type = Fields(*thinking, "Thinking").text("type").value_or("");
    if (type == "disabled") native.fields["think"] = false;
    if (type == "enabled") native.fields["think"] = true;
    if (type == "enabled" || type == "disabled") return;
  }
  const json::object* output = fields.object("output_config");
  if (output == nullptr) return;
  const std::string effort = Fields(*output, "OutputConfig").text("effort").value_or("");
  if (effort == "low" || effort == "medium" || effort == "high" || effort == "max") native.fields["think"] = effort;
  else if (effort == "xhigh") native.fields["think"] = "high";
  else if (!effort.empty()) throw ApiError(400, "invalid effort: \"" + effort + "\"");
}

// {"format":{"type":"json_schema","schema":{...}}} in "output_config", or its older place "output_format".
void read_format(const Fields& fields, NativeRequest& native) {
  const json::object* format = fields.object("output_format");
  if (const json::object* output = fields.object("output_config"))
    if (const json::object* inner = Fields(*output, "OutputConfig").object("format")) format = inner;
  if (format == nullptr) return;
  const Fields given(*format, "OutputFormat");
  const json::object* schema = given.object("schema");
  if (given.text("type").value_or("") != "json_schema" || schema == nullptr)
    throw ApiError(400, "invalid output format (must be of type json_schema, with a schema)");
  native.fields["format"] = *schema;
}

}  // namespace

AnthropicRequest::AnthropicRequest(const json::object& body, Purpose purpose) {
  const Fields fields(body, "MessagesRequest");
  NativeRequest native(fields);
  if (purpose == Purpose::kAnswer) {
    native.copy_integer(fields, "max_tokens", "num_predict");
    if (fields.integer("max_tokens").value_or(0) <= 0) throw ApiError(400, "max_tokens is required and must be positive");
  }
  native.copy_number(fields, "temperature", "temperature");
  native.copy_number(fields, "top_p", "top_p");
  native.copy_integer(fields, "top_k", "top_k");
  if (fields.array("stop_sequences") != nullptr) {
    json::array stop;
    for (const std::string& text : fields.texts("stop_sequences")) stop.emplace_back(text);
    native.options["stop"] = std::move(stop);
  }
  read_thinking(fields, native);
  read_format(fields, native);
  native_ = std::move(native).joined();
  task_.request = read_completion(Fields(native_, "MessagesRequest"));
  if (task_.request.model.empty()) throw ApiError(400, "model is required");

  const json::array* messages = fields.array("messages");
  if (messages == nullptr || messages->empty()) throw ApiError(400, "messages is required");
  if (const json::value* system = fields.find("system")) {
    engine::ChatMessage message;
    message.role = "system";
    read_text_and_images(*system, message);
    if (!message.images.empty()) throw ApiError(400, "system must be text");
    if (!message.content.empty()) task_.messages.push_back(std::move(message));
  }
  ToolNames tool_names;
  for (const json::value& message : *messages) read_anthropic_message(message, tool_names, task_.messages);
  if (task_.messages.empty()) throw ApiError(400, "messages is required");
  if (const json::array* tools = fields.array("tools"))
    for (const json::value& tool : *tools) task_.tools.push_back(read_tool(tool));
  task_.tool_choice = read_anthropic_tool_choice(fields);
  task_.call_id_prefix = "toolu_";
}

}  // namespace olx::server
