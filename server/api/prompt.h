#pragma once
// The text of a prompt that is no conversation: what /api/generate and /v1/completions have in common.

#include <string>

#include "server/api/completion.h"

namespace olx::server {

struct PromptParts {
  std::string prompt;
  std::string suffix;         // what follows the gap to fill; "": no gap
  std::string system;         // "": the model's own
  std::string template_text;  // "": the model's own
  bool is_raw = false;        // the prompt as it is
  bool has_context = false;   // continues an earlier answer: the model's stored messages are in it already
};

// Checks that the model can do what is asked. ApiError 400 in Ollama's words.
void check_generates(const Completion& completion, const CompletionRequest& request, const PromptParts& parts);
// How the model writes its answer; of a prompt that goes through no chat template, as text and
// nothing else.
engine::AnswerFormat prompt_format(const Completion& completion, const CompletionRequest& request,
                                   const PromptParts& parts);
engine::ChatPrompt render_prompt(const Completion& completion, const CompletionRequest& request,
                                 const PromptParts& parts);

}  // namespace olx::server
