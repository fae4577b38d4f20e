#pragma once
// The interactive chat of `ollamax run MODEL`: prompt, history, slash commands.

#include <boost/json/object.hpp>
#include <string>
#include <string_view>

#include "cli/client.h"

namespace olx::cli {

struct ChatOptions {
  std::string model;
  boost::json::value keep_alive;    // null: the server's default
  boost::json::value format;        // null: free text
  boost::json::value think;         // null: not sent
  boost::json::object parameters;   // /set parameter
  bool is_verbose = false;
  bool is_wrapped = true;
  bool is_thinking_hidden = false;
};

// shown: the answer of /api/show for the model. Returns the exit code.
int run_chat(const Client& client, ChatOptions options, const boost::json::object& shown);

// Whether the answer of /api/show names the capability (run.cpp).
bool has_capability(const boost::json::object& shown, std::string_view name);

// Loads the model, showing that it is being loaded (run.cpp).
void load_with_progress(const Client& client, const ChatOptions& options);

}  // namespace olx::cli
