#include "server/openai/responses_request.h"

#include <boost/json.hpp>

#include "server/openai/translate.h"

namespace olx::server {
namespace {

namespace json = boost::json;

// The items of "input", one after the other, as messages.
class InputReader {
 public:
  explicit InputReader(std::vector<engine::ChatMessage>& messages) : messages_(messages) {}

  void read(const json::value& value) {
    if (!value.is_object()) throw ApiError(400, "input item must be an object");
    const Fields item(value.get_object(), "InputItem");
    const auto type = item.text("type");
    if (!type && item.find("role") == nullptr)
      throw ApiError(400, "input item missing required 'type' field");
    if (!type || *type == "message") return read_message(item);
    if (*type == "function_call") return read_call(item);
    if (*type == "function_call_output") return read_result(item);
    if (*type == "reasoning") return read_reasoning(item);
    if (*type != "web_search_call")
      throw ApiError(400, "unknown input item type: \"" + *type + "\"");
  }

 private:
  void read_message(const Fields& item) {
    engine::ChatMessage message;
    message.role = template_role(item.text("role").value_or(""));
    read_content(item.find("content"), message);
    if (message.role == "assistant") message.thinking = std::exchange(thinking_, "");
    messages_.push_back(std::move(message));
  }
  // What an assistant does without a message of the user's between is one turn.
  void read_call(const Fields& item) {
    engine::ToolCall call{item.text("call_id").value_or(""), item.text("name").value_or(""),
                          parse_arguments(item.text("arguments").value_or(""))};
    if (call.name.empty()) throw ApiError(400, "function_call needs a name");
    if (messages_.empty() || messages_.back().role != "assistant")
      messages_.push_back({.role = "assistant"});
    engine::ChatMessage& message = messages_.back();
    message.thinking += std::exchange(thinking_, "");
    message.tool_calls.push_back(std::move(call));
    tool_names_.add({message.tool_calls.back()});
  }
  void read_result(const Fields& item) {
    engine::ChatMessage message{.role = "tool"};
    message.tool_call_id = item.text("call_id").value_or("");
    message.tool_name = tool_names_.of(message.tool_call_id);
    read_content(item.find("output"), message);
    messages_.push_back(std::move(message));
  }
  // What this server gave out as "encrypted" is the thinking itself.
  void read_reasoning(const Fields& item) {
    std::string text = item.text("encrypted_content").value_or("");
    if (const json::array* summary = item.array("summary"); summary && text.empty())
      for (const json::value& part : *summary)
        if (part.is_object())
          text += Fields(part.get_object(), "Summary").text("text").value_or("");
    thinking_ += text;
  }

  static void read_content(const json::value* content, engine::ChatMessage& message) {
    if (content == nullptr) return;
    if (content->is_string()) {
      message.content = content->get_string();
      return;
    }
    if (!content->is_array()) throw ApiError(400, "content must be a string or an array");
    for (const json::value& value : content->get_array()) {
      if (!value.is_object()) throw ApiError(400, "content item must be an object");
      const Fields part(value.get_object(), "ContentItem");
      const std::string type = part.text("type").value_or("");
      if (type == "input_text" || type == "output_text") {
        const std::string text = part.text("text").value_or("");
        if (!message.content.empty() && !text.empty()) message.content += '\n';
        message.content += text;
      } else if (type == "input_image") {
        if (const auto url = part.text("image_url")) message.images.push_back(image_data(*url));
      } else if (type == "input_file") {
        throw ApiError(400, "file inputs are not currently supported");
      } else {
        throw ApiError(400, "unknown content type: " + type);
      }
    }
  }

  std::vector<engine::ChatMessage>& messages_;
  ToolNames tool_names_;
  std::string thinking_;  // of the next message
};

// A function, as chat completions write it.
json::object chat_tool(const Fields& tool, const std::string& name) {
  json::object function{{"name", name}};
  for (const char* member : {"description", "parameters", "strict"})
    if (const json::value* value = tool.find(member)) function[member] = *value;
  return {{"type", "function"}, {"function", std::move(function)}};
}

const json::value* member(const json::object* object, std::string_view name) {
  return object ? Fields(*object, "Request").find(name) : nullptr;
}

}  // namespace

void ResponsesRequest::read_tools(const Fields& fields) {
  const json::array* tools = fields.array("tools");
  if (tools == nullptr) return;
  for (const json::value& value : *tools) {
    if (!value.is_object()) throw ApiError(400, "a tool must be an object");
    const Fields tool(value.get_object(), "Tool");
    const std::string type = tool.text("type").value_or("function"),
                      name = tool.text("name").value_or("");
    if (type != "function" && type != "namespace")
      throw ApiError(400, "tools of type \"" + type + "\" are not supported");
    if (name.empty()) throw ApiError(400, "a tool needs a name");
    if (type == "function") {
      task_.tools.push_back(chat_tool(tool, name));
    } else if (const json::array* inner = tool.array("tools")) {
      for (const json::value& one : *inner) {
        if (!one.is_object()) throw ApiError(400, "a tool must be an object");
        const Fields function(one.get_object(), "Tool");
        task_.tools.push_back(chat_tool(function, name + "." + function.text("name").value_or("")));
      }
    }
  }
}

ResponsesRequest::ResponsesRequest(const json::object& body) {
  const Fields fields(body, "ResponsesRequest");
  NativeRequest native(fields);
  // OpenAI's default; top_p is the model's where it is not given, as Ollama has it on this route.
  if (!native.options.contains("temperature")) native.options["temperature"] = 1.0;
  native.copy_number(fields, "temperature", "temperature");
  native.copy_number(fields, "top_p", "top_p");
  native.copy_integer(fields, "max_output_tokens", "num_predict");
  const json::object* reasoning = fields.object("reasoning");
  if (reasoning) set_effort(Fields(*reasoning, "Reasoning").text("effort").value_or(""), native);
  const json::object* text = fields.object("text");
  const json::object* format = text ? Fields(*text, "Text").object("format") : nullptr;
  if (format) set_format(Fields(*format, "TextFormat"), Fields(*format, "TextFormat"), native);
  for (const std::string& name : fields.texts("include"))
    if (name == "message.output_text.logprobs") native.fields["logprobs"] = true;
  native.fields["top_logprobs"] = fields.integer("top_logprobs").value_or(0);
  native_ = std::move(native).joined();
  task_.request = read_completion(Fields(native_, "ResponsesRequest"));
  if (task_.request.model.empty()) throw ApiError(400, "model is required");

  if (const auto instructions = fields.text("instructions"); instructions && !instructions->empty())
    task_.messages.push_back({.role = "system", .content = *instructions});
  const size_t n_before = task_.messages.size();
  const json::value* input = fields.find("input");
  if (input && input->is_string()) {
    task_.messages.push_back({.role = "user", .content = std::string(input->get_string())});
  } else if (input && input->is_array()) {
    InputReader reader(task_.messages);
    for (size_t i = 0; i < input->get_array().size(); ++i) {
      const std::string where = "input[" + std::to_string(i) + "]: ";
      try {
        reader.read(input->get_array()[i]);
      } catch (const ApiError& error) {
        throw ApiError(error.status(), where + error.what());
      } catch (const JsonError& error) {
        throw ApiError(400, where + error.what());
      }
    }
  } else if (input) {
    throw ApiError(400, "input must be a string or an array");
  }
  if (task_.messages.size() == n_before) throw ApiError(400, "input is required");
  read_tools(fields);
  task_.tool_choice = read_tool_choice(fields);

  const auto given = [&](const char* name, const json::value& otherwise) {
    const json::value* value = fields.find(name);
    return value ? *value : otherwise;
  };
  const auto copy_of = [](const json::value* value) {
    return value ? *value : json::value(nullptr);
  };
  echo_ = {{"previous_response_id", nullptr},
           {"instructions", given("instructions", nullptr)},
           {"tools", given("tools", json::array())},
           {"tool_choice", given("tool_choice", "auto")},
           {"truncation", given("truncation", "disabled")},
           {"parallel_tool_calls", task_.tool_choice.allows_parallel},
           {"text", json::object{{"format", format ? json::value(*format)
                                                   : json::value(json::object{{"type", "text"}})}}},
           {"top_p", given("top_p", 1.0)},
           {"presence_penalty", 0},
           {"frequency_penalty", 0},
           {"top_logprobs", given("top_logprobs", 0)},
           {"temperature", given("temperature", 1.0)},
           {"reasoning", json::object{{"effort", copy_of(member(reasoning, "effort"))},
                                      {"summary", copy_of(member(reasoning, "summary"))}}},
           {"max_output_tokens", given("max_output_tokens", nullptr)},
           {"max_tool_calls", nullptr},
           {"store", false},
           {"background", given("background", false)},
           {"service_tier", "default"},
           {"metadata", given("metadata", json::object())},
           {"safety_identifier", nullptr},
           {"prompt_cache_key", nullptr}};
}

}  // namespace olx::server
