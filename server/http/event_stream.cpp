#include "server/http/event_stream.h"

#include <fmt/format.h>

#include "server/http/api_error.h"
#include "server/json/json.h"

namespace olx::server {

void EventStream::send(const boost::json::object& data) { write(fmt::format("data: {}\n\n", go_json(data))); }

void EventStream::send(std::string_view name, const boost::json::object& data) {
  write(fmt::format("event: {}\ndata: {}\n\n", name, go_json(data)));
}

void EventStream::send_done() { write("data: [DONE]\n\n"); }

void EventStream::write(std::string_view text) {
  if (!exchange_.has_begun()) exchange_.begin_stream("text/event-stream");
  if (!exchange_.write(text)) throw ApiError(499, "request canceled");
}

}  // namespace olx::server
