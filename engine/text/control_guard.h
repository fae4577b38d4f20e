#pragma once
// Keeps what people and tools say from speaking for the template: a control token spelled in the
// content of a message
// (<|im_start|>) stays text. Used by Engine around the rendering of a conversation; templates see
// the texts with a mark inside each such spelling, a character that occurs nowhere else, which is
// taken out again afterwards.

#include <string>
#include <string_view>
#include <vector>

#include "engine/request.h"
#include "engine/text/tokenizer.h"

namespace olx::engine {

struct GuardedChat {
  ChatRequest request;
  std::string mark;  // "": nothing had to be guarded
};

// answer_marks: spellings that an assistant's own earlier text may hold, because templates look for
// them (</think>). EngineError(kInvalidRequest): every character that could be the mark occurs in
// the conversation.
GuardedChat guard_controls(const ChatRequest& request, const Tokenizer& tokenizer,
                           const std::vector<std::string>& answer_marks);

// The rendered text without the mark; where it stood no control token is read.
ChatPrompt without_marks(std::string rendered, std::string_view mark);

}  // namespace olx::engine
