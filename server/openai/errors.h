#pragma once
// Errors as OpenAI's clients expect them. Used for every /v1 route that is not Anthropic's.

#include <string>
#include <string_view>

namespace olx::server {

// The body of an error answer; is_streamed: as an event inside an answer that has begun.
std::string openai_error(int status, std::string_view message, bool is_streamed);

}  // namespace olx::server
