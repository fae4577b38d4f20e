#pragma once
// A request in Ollama's words, made from one in OpenAI's or Anthropic's: read_completion then checks and keeps it, so that
// a field means the same whoever sends it. Used by openai/ and anthropic/.

#include <boost/json/object.hpp>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "engine/request.h"
#include "server/json/json.h"

namespace olx::server {

struct NativeRequest {
  boost::json::object fields;   // "model", "stream", "think", "format", "logprobs" ...
  boost::json::object options;  // "num_predict", "temperature" ...

  // "model", "stream" (false when absent), "keep_alive" and "options", which OpenAI's and Anthropic's fields overrule.
  // The last two are Ollama's: through them num_ctx can be set. JsonError.
  explicit NativeRequest(const Fields& given);
  // A field of which a number (a whole number) is wanted, under Ollama's name. Absent: nothing. ApiError 400.
  void copy_number(const Fields& given, std::string_view name, std::string_view option);
  void copy_integer(const Fields& given, std::string_view name, std::string_view option);
  // What read_completion reads.
  boost::json::object joined() &&;
};

// Which tool each call of a conversation was for: a tool's answer names only the call.
class ToolNames {
 public:
  void add(const std::vector<engine::ToolCall>& calls);
  std::string of(const std::string& id) const;  // "": no such call

 private:
  std::unordered_map<std::string, std::string> by_id_;
};

}  // namespace olx::server
