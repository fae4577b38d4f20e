#pragma once
// EventStream: a streamed answer as server-sent events, which the OpenAI and Anthropic protocols use.
// Begins the answer with its first event. Ollama's own NDJSON is RecordWriter in api/completion.h.

#include <boost/json/object.hpp>
#include <string_view>

#include "server/http/http_server.h"

namespace olx::server {

class EventStream {
 public:
  explicit EventStream(Exchange& exchange) : exchange_(exchange) {}

  // "data: {...}". All three throw ApiError 499 when the client has gone.
  void send(const boost::json::object& data);
  // "event: name" before the data.
  void send(std::string_view name, const boost::json::object& data);
  // "data: [DONE]", with which OpenAI's chat and completions end.
  void send_done();

 private:
  void write(std::string_view text);
  Exchange& exchange_;
};

}  // namespace olx::server
