#pragma once
// The texts of /? in the chat. Not a parser: chat.cpp knows what the commands do.

#include <string>

namespace olx::cli {

// topic: "", "set", "show" or "shortcuts".
std::string chat_help(const std::string& topic);

}  // namespace olx::cli
