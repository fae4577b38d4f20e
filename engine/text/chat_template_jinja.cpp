// The chat template of a GGUF file: variables are built as Hugging Face's apply_chat_template builds them.

#include "engine/error.h"
#include "engine/text/chat_template.h"
#include "engine/text/jinja/jinja.h"

namespace olx::engine {
namespace {

Value tool_calls_value(const std::vector<ToolCall>& calls) {
  ValueList list;
  for (const ToolCall& call : calls) {
    ValueMap function;
    function.emplace_back("name", Value(call.name));
    function.emplace_back("arguments", call.arguments.is_null() ? Value(ValueMap{}) : call.arguments);
    ValueMap entry;
    if (!call.id.empty()) entry.emplace_back("id", Value(call.id));
    entry.emplace_back("type", Value("function"));
    entry.emplace_back("function", Value(std::move(function)));
    list.push_back(Value(std::move(entry)));
  }
  return list;
}

Value message_value(const ChatMessage& message) {
  ValueMap map;
  map.emplace_back("role", Value(message.role));
  map.emplace_back("content", Value(message.content));
  if (!message.thinking.empty()) map.emplace_back("reasoning_content", Value(message.thinking));
  if (!message.tool_calls.empty()) map.emplace_back("tool_calls", tool_calls_value(message.tool_calls));
  if (!message.tool_name.empty()) map.emplace_back("name", Value(message.tool_name));
  if (!message.tool_call_id.empty()) map.emplace_back("tool_call_id", Value(message.tool_call_id));
  return map;
}

bool has_tools(const Value& tools) { return tools.as_list() && !tools.as_list()->empty(); }

class JinjaChatTemplate : public ChatTemplate {
 public:
  JinjaChatTemplate(std::string_view source, std::string_view bos, std::string_view eos)
      : template_(source), bos_(bos), eos_(eos) {}

  std::string render(const ChatRequest& request) const override {
    try {
      return template_.render(variables(request, request.messages));
    } catch (const EngineError& error) {
      // Some templates refuse a system message (raise_exception). What it says then goes in front of the first user
      // message, where such models were trained to read it; any other failure fails again and is reported.
      std::vector<ChatMessage> merged = without_system(request.messages);
      if (merged.size() == request.messages.size()) throw;
      try {
        return template_.render(variables(request, merged));
      } catch (const EngineError&) {
      }
      throw;
    }
  }

 private:
  Value variables(const ChatRequest& request, const std::vector<ChatMessage>& messages) const {
    ValueList list;
    for (const ChatMessage& message : messages) list.push_back(message_value(message));
    ValueMap map;
    map.emplace_back("messages", Value(std::move(list)));
    // apply_chat_template always passes these two; templates write "if tools is not none".
    map.emplace_back("tools", has_tools(request.tools) ? request.tools : Value());
    map.emplace_back("documents", Value());
    map.emplace_back("add_generation_prompt", Value(request.add_generation_prompt));
    map.emplace_back("bos_token", Value(bos_));
    map.emplace_back("eos_token", Value(eos_));
    if (request.think) {
      map.emplace_back("enable_thinking", Value(*request.think));
      map.emplace_back("thinking", Value(*request.think));  // the name DeepSeek's templates use
    }
    if (!request.think_level.empty()) map.emplace_back("reasoning_effort", Value(request.think_level));
    return map;
  }

  static std::vector<ChatMessage> without_system(const std::vector<ChatMessage>& messages) {
    std::string system;
    std::vector<ChatMessage> rest;
    for (const ChatMessage& message : messages) {
      if (message.role == "system") system += (system.empty() ? "" : "\n\n") + message.content;
      else rest.push_back(message);
    }
    if (system.empty()) return messages;
    for (ChatMessage& message : rest) {
      if (message.role != "user") continue;
      message.content = system + "\n\n" + message.content;
      return rest;
    }
    return messages;
  }

  jinja::JinjaTemplate template_;
  std::string bos_, eos_;
};

}  // namespace

std::string render_jinja(std::string_view source, const Value& variables, const TemplateLimits& limits) {
  return jinja::JinjaTemplate(source).render(variables, limits);
}

std::unique_ptr<ChatTemplate> make_jinja_chat_template(std::string_view source, std::string_view bos,
                                                       std::string_view eos) {
  return std::make_unique<JinjaChatTemplate>(source, bos, eos);
}

}  // namespace olx::engine
