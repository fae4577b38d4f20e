#pragma once
// What an answer has to look like when tools must be called, or when it must hold a value: an
// OutputConstraint in the words of the model's own format, so that AnswerParser reads back what it
// forces. Used by the server for tool_choice and for `format`.

#include <string>
#include <string_view>
#include <vector>

#include "engine/answer/answer_format.h"
#include "engine/request.h"

namespace olx::engine {

// The answer is a call of one of the tools (as in ChatRequest::tools; of those only), or several
// calls. Its arguments satisfy the tool's parameters. EngineError(kInvalidRequest): the format
// knows no calls, or what a tool declares cannot be held to in the way this model writes arguments;
// the schema's word is named.
OutputConstraint constrain_calls(const AnswerFormat& format, const Value& tools,
                                 bool allows_parallel);

// Either of the two. `content` must have come from a schema: its grammar is one rule that names it.
OutputConstraint constrain_either(const AnswerFormat& format, const OutputConstraint& content,
                                  OutputConstraint calls);

// Lets an answer think, and begin as its format has it, before the constraint holds. prompt: as
// rendered; where it has begun the thinking, the answer goes on with it whatever may_think says.
// is_content: the constraint is of what the answer says, not (also) of calls.
void free_thinking(const AnswerFormat& format, std::string_view prompt, bool may_think,
                   bool is_content, OutputConstraint& constraint);

}  // namespace olx::engine
