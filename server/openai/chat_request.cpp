#include "server/openai/chat_request.h"

#include <boost/json.hpp>

#include "server/openai/translate.h"

namespace olx::server {
namespace {

namespace json = boost::json;

void read_part(const json::value& part, engine::ChatMessage& message) {
  if (!part.is_object()) throw ApiError(400, "invalid message format");
  const Fields fields(part.get_object(), "ContentPart");
  const std::string type = fields.text("type").value_or("");
  if (type == "text" || type == "refusal") {
    const auto text = fields.text(type);
    if (!text) throw ApiError(400, "invalid message format");
    if (!message.content.empty() && !text->empty()) message.content += '\n';
    message.content += *text;
  } else if (type == "image_url") {
    const json::value* url = fields.find("image_url");
    if (url == nullptr) throw ApiError(400, "invalid message format");
    message.images.push_back(image_data(url->is_string() ? std::string(url->get_string())
                                                         : Fields(*fields.object("image_url"), "ImageUrl").text("url").value_or("")));
  } else {
    throw ApiError(400, "invalid message format: content of type \"" + type + "\" is not supported");
  }
}

engine::ToolCall read_call(const json::value& value) {
  if (!value.is_object()) throw ApiError(400, "invalid tool call");
  const Fields fields(value.get_object(), "ToolCall");
  const json::object* function = fields.object("function");
  if (function == nullptr) throw ApiError(400, "invalid tool call: only functions are supported");
  const Fields inner(*function, "ToolCallFunction");
  return {fields.text("id").value_or(""), inner.text("name").value_or(""), parse_arguments(inner.text("arguments").value_or(""))};
}

engine::ChatMessage read_openai_message(const json::value& value, ToolNames& tool_names) {
  if (!value.is_object()) throw ApiError(400, "a message must be an object");
  const Fields fields(value.get_object(), "Message");
  engine::ChatMessage message;
  message.role = template_role(fields.text("role").value_or(""));
  if (const json::array* calls = fields.array("tool_calls"))
    for (const json::value& call : *calls) message.tool_calls.push_back(read_call(call));
  tool_names.add(message.tool_calls);
  // "reasoning" is Ollama's name, "reasoning_content" what several other servers answer with.
  for (const char* name : {"reasoning", "reasoning_content"})
    if (message.thinking.empty()) message.thinking = fields.text(name).value_or("");
  const json::value* content = fields.find("content");
  if (content == nullptr) {
    if (message.tool_calls.empty()) throw ApiError(400, "invalid message content type: <nil>");
  } else if (content->is_string()) {
    message.content = content->get_string();
  } else if (content->is_array()) {
    for (const json::value& part : content->get_array()) read_part(part, message);
  } else {
    throw ApiError(400, "invalid message content type: " + std::string(json::to_string(content->kind())));
  }
  if (message.role == "tool") {
    message.tool_call_id = fields.text("tool_call_id").value_or("");
    message.tool_name = fields.text("name").value_or("");
    if (message.tool_name.empty()) message.tool_name = tool_names.of(message.tool_call_id);
  }
  return message;
}

json::array read_tools(const Fields& fields) {
  const json::array* tools = fields.array("tools");
  if (tools == nullptr) return {};
  for (const json::value& tool : *tools) {
    if (!tool.is_object()) throw ApiError(400, "a tool must be an object");
    const Fields given(tool.get_object(), "Tool");
    if (given.text("type").value_or("function") != "function" || given.object("function") == nullptr)
      throw ApiError(400, "invalid tool: only functions are supported");
  }
  return *tools;
}

}  // namespace

OpenAiChatRequest::OpenAiChatRequest(const json::object& body) {
  const Fields fields(body, "ChatCompletionRequest");
  NativeRequest native(fields);
  copy_sampling(fields, native);
  copy_max_tokens(fields, native);
  copy_stop(fields, native);
  if (const json::object* reasoning = fields.object("reasoning"))
    set_effort(Fields(*reasoning, "Reasoning").text("effort").value_or(""), native);
  else
    set_effort(fields.text("reasoning_effort").value_or(""), native);
  if (const json::object* format = fields.object("response_format")) {
    const Fields given(*format, "ResponseFormat");
    const json::object* holder = given.object("json_schema");
    set_format(given, Fields(holder ? *holder : *format, "JsonSchema"), native);
  }
  native.fields["logprobs"] = fields.boolean("logprobs").value_or(false);
  native.fields["top_logprobs"] = fields.integer("top_logprobs").value_or(0);
  n_choices_ = read_n_choices(fields);
  includes_usage_ = read_includes_usage(fields);
  native_ = std::move(native).joined();
  task_.request = read_completion(Fields(native_, "ChatCompletionRequest"));
  if (task_.request.model.empty()) throw ApiError(400, "model is required");

  const json::array* messages = fields.array("messages");
  if (messages == nullptr || messages->empty()) throw ApiError(400, "[] is too short - 'messages'");
  ToolNames tool_names;
  for (const json::value& message : *messages) task_.messages.push_back(read_openai_message(message, tool_names));
  task_.tools = read_tools(fields);
  task_.tool_choice = read_tool_choice(fields);
}

}  // namespace olx::server
