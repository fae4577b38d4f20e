#include "server/api/prompt.h"

#include "engine/insert_prompt.h"

namespace olx::server {
namespace {

std::string template_of(const Completion& completion, const PromptParts& parts) {
  return parts.template_text.empty() ? completion.contents.template_text.value_or("")
                                     : parts.template_text;
}

bool has_template(const Completion& completion, const PromptParts& parts) {
  return !parts.is_raw && (!template_of(completion, parts).empty() ||
                           completion.lease.model().info().has_chat_template);
}

bool is_insert(const Completion& completion, const PromptParts& parts) {
  return !parts.suffix.empty() && !template_of(completion, parts).empty();
}

engine::ChatRequest chat_of(const Completion& completion, const CompletionRequest& request, const PromptParts& parts) {
  engine::ChatRequest chat;
  chat.think = completion.thinks(request);
  chat.template_text = template_of(completion, parts);
  chat.think_level =
      think_level(request, answer_format(completion, chat.template_text, chat.think));
  const std::string& system = parts.system.empty() ? completion.contents.system : parts.system;
  if (!system.empty()) chat.messages.push_back({.role = "system", .content = system});
  if (!parts.has_context)
    for (const engine::Value& stored : completion.contents.messages) {
      const auto text = [&](const char* key) {
        const engine::Value* value = stored.find(key);
        return value && value->as_string() ? *value->as_string() : std::string();
      };
      chat.messages.push_back({.role = text("role"), .content = text("content")});
    }
  chat.messages.push_back({.role = "user", .content = parts.prompt});
  return chat;
}

}  // namespace

void check_generates(const Completion& completion, const CompletionRequest& request, const PromptParts& parts) {
  if (!completion.can("completion")) throw ApiError(400, "\"" + request.model + "\" does not support generate");
  if (request.think.value_or(false) && !completion.can("thinking"))
    throw ApiError(400, "\"" + request.model + "\" does not support thinking");
  if (!parts.suffix.empty() && !completion.can("insert"))
    throw ApiError(400, completion.installed.name.full() + " does not support insert");
}

engine::AnswerFormat prompt_format(const Completion& completion, const CompletionRequest& request,
                                   const PromptParts& parts) {
  if (!has_template(completion, parts) || is_insert(completion, parts)) return {};
  return answer_format(completion, template_of(completion, parts), completion.thinks(request));
}

engine::ChatPrompt render_prompt(const Completion& completion, const CompletionRequest& request,
                                 const PromptParts& parts) {
  ModelHost& model = completion.lease.model();
  if (!has_template(completion, parts)) return {parts.prompt, {}};
  const engine::ChatRequest chat = chat_of(completion, request, parts);
  if (is_insert(completion, parts))
    return {engine::render_insert_prompt(chat.template_text, parts.prompt, parts.suffix), {}};
  return model.render_chat(chat);
}

}  // namespace olx::server
