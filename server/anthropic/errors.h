#pragma once
// Errors as Anthropic's clients expect them. Used for /v1/messages and what is below it.

#include <string>
#include <string_view>

namespace olx::server {

// The body of an error answer; is_streamed: as an event inside an answer that has begun.
std::string anthropic_error(int status, std::string_view message, bool is_streamed);

}  // namespace olx::server
