#pragma once
// The request of POST /v1/chat/completions as a ChatTask. Also the pieces of it that /v1/completions and /v1/responses share.
// What becomes of it is in chat_completions.cpp.

#include <boost/json/object.hpp>
#include <string>
#include <string_view>

#include "server/api/conversation.h"

namespace olx::server {

inline constexpr int kMaxChoices = 128;

// A request in Ollama's words, made from one in OpenAI's: Ollama's own reader then checks and keeps it.
struct NativeRequest {
  boost::json::object fields;   // "model", "stream", "think", "format", "logprobs" ...
  boost::json::object options;  // "num_predict", "temperature" ...
};

// What chat completions, completions and responses have in common: model, stream, keep_alive, options, temperature, top_p.
// "options" (Ollama's, with num_ctx among them) may be given; OpenAI's own fields go before it. ApiError 400.
NativeRequest read_common(const Fields& fields);
// Fields of which a number is wanted, put into the options under Ollama's name. Absent: nothing.
void copy_number(const Fields& fields, std::string_view name, NativeRequest& native, std::string_view option);
void copy_integer(const Fields& fields, std::string_view name, NativeRequest& native, std::string_view option);
// "stop": a text or a list of texts.
void copy_stop(const Fields& fields, NativeRequest& native);
// "minimal" ... "max", "none"; empty: not given.
void set_effort(const std::string& effort, NativeRequest& native);
// "n": 1 to kMaxChoices.
int read_n_choices(const Fields& fields);
// "stream_options": {"include_usage": true}
bool read_includes_usage(const Fields& fields);
// {"type":"json_schema",...} of a response_format or a text.format; the schema is in `holder`'s member "schema".
void set_format(const Fields& format, NativeRequest& native);
// "tool_choice" of chat completions (`function` holds the name) and of responses (the name is beside the type).
ToolChoice read_tool_choice(const Fields& fields);
// Arguments of a call: a JSON object as text; "" is {}. ApiError 400.
engine::Value parse_arguments(const std::string& text);
// The base64 data of a data: URL with an image. ApiError 400.
std::string image_data(const std::string& url);
// The name a tool was called by, looked for in the calls of earlier messages. "": no such call.
std::string tool_name_of(const std::vector<engine::ChatMessage>& messages, const std::string& id);

class OpenAiChatRequest {
 public:
  // Throws JsonError and ApiError 400.
  explicit OpenAiChatRequest(const boost::json::object& body);
  OpenAiChatRequest(const OpenAiChatRequest&) = delete;
  OpenAiChatRequest& operator=(const OpenAiChatRequest&) = delete;

  const ChatTask& task() const { return task_; }
  int n_choices() const { return n_choices_; }
  bool includes_usage() const { return includes_usage_; }

 private:
  boost::json::object native_;  // task_ points into it
  ChatTask task_;
  int n_choices_ = 1;
  bool includes_usage_ = false;
};

}  // namespace olx::server
