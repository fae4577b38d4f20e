#pragma once
// Fields that the requests of OpenAI's protocols share, in Ollama's words. Used by the request readers of openai/.
// All throw JsonError or ApiError 400.

#include <string>

#include "server/api/conversation.h"
#include "server/api/native_request.h"

namespace olx::server {

inline constexpr int kMaxChoices = 128;  // OpenAI's limit

// temperature and top_p, which OpenAI defines as 1 when absent whatever the model's parameters say (as Ollama does),
// the penalties and the seed.
void copy_sampling(const Fields& given, NativeRequest& native);
// "max_completion_tokens", or its older name "max_tokens".
void copy_max_tokens(const Fields& given, NativeRequest& native);
// "stop": a text or a list of texts.
void copy_stop(const Fields& given, NativeRequest& native);
// "n": 1 to kMaxChoices.
int read_n_choices(const Fields& given);
// "stream_options": {"include_usage": true}
bool read_includes_usage(const Fields& given);
// "none", "minimal" ... "max"; "": not given.
void set_effort(const std::string& effort, NativeRequest& native);
// {"type":"json_schema", ...}; the schema is a member of `holder`.
void set_format(const Fields& format, const Fields& holder, NativeRequest& native);
// A role of the protocols under the name that templates know. "developer" is the newer name of
// "system", "function" the older one of "tool".
std::string template_role(const std::string& role);
// Arguments of a call: a JSON object as text; "" is {}.
engine::Value parse_arguments(const std::string& text);
// The base64 data of a data: URL with an image.
std::string image_data(const std::string& url);

}  // namespace olx::server
