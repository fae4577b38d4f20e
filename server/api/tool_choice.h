#pragma once
// tool_choice: which tools the next answer may or must call. Read from requests of Ollama's routes
// (where it is an extension) and of OpenAI's; Anthropic's reader makes one of its own form. What
// enforces it is in conversation.cpp.

#include <boost/json/array.hpp>
#include <string>
#include <vector>

#include "server/json/json.h"

namespace olx::server {

struct ToolChoice {
  enum class Kind {
    kAuto,
    kNone,
    kRequired,
    kNamed
  };  // kRequired: some tool; kNamed: the one called `name`
  Kind kind = Kind::kAuto;
  std::string name;
  std::vector<std::string> allowed;  // only these; none: all
  bool allows_parallel = true;       // more than one call in an answer

  bool must_call() const { return kind == Kind::kRequired || kind == Kind::kNamed; }
};

// "tool_choice" and "parallel_tool_calls". A chosen function is
// {"type":"function","function":{"name"}} or
// {"type":"function","name"}; {"type":"allowed_tools"} chooses among some. JsonError, ApiError 400.
ToolChoice read_tool_choice(const Fields& given);

// The tools the model is told of: none, all, or the allowed ones. ApiError 400 where the choice
// asks for one that is not there.
boost::json::array offered_tools(const boost::json::array& tools, const ToolChoice& choice);

}  // namespace olx::server
