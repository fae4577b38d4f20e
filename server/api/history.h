#pragma once
// What the earlier turns of a conversation need before a chat template sees them. Used by
// conversation.cpp.

#include <vector>

#include "engine/answer/answer_format.h"
#include "engine/request.h"

namespace olx::server {

// - The result of a tool gets the name and the id of the call it belongs to, found by id, else by
// name, else by order: clients
//   leave out one or both. Calls without an id get one.
// - Thinking written inside the content of an earlier answer is left out, as Ollama does.
// - Ids get the form that the model's template insists on.
void complete_history(std::vector<engine::ChatMessage>& messages,
                      const engine::AnswerFormat& format);

}  // namespace olx::server
