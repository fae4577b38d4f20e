#pragma once
// Names for answers and their parts, as the OpenAI and Anthropic protocols want them. Not secrets.

#include <string>
#include <string_view>

namespace olx::server {

// The prefix and 24 hexadecimal digits.
std::string random_id(std::string_view prefix);
// The prefix and eight small letters and digits: how calls of tools are named.
std::string random_call_id(std::string_view prefix);

}  // namespace olx::server
