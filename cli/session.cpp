// Which server a command talks to, and small helpers on JSON objects.
#include <boost/json.hpp>
#include <cstdlib>

#include "cli/commands.h"
#include "cli/terminal.h"

namespace olx::cli {

namespace json = boost::json;

std::string text_of(const json::object& object, std::string_view key) {
  const json::value* value = object.if_contains(key);
  return value && value->is_string() ? std::string(value->as_string()) : "";
}

int64_t number_of(const json::object& object, std::string_view key) {
  const json::value* value = object.if_contains(key);
  if (value == nullptr) return 0;
  if (value->is_int64()) return value->as_int64();
  if (value->is_uint64()) return static_cast<int64_t>(value->as_uint64());
  if (value->is_double()) return static_cast<int64_t>(value->as_double());
  return 0;
}

Session open_session() {
  Session session;
  session.client = std::make_unique<Client>(host_from_environment());
  if (!session.client->is_up()) {
    session.local = start_local_server();
    session.client = std::make_unique<Client>(session.local->address());
  }
  return session;
}

Session open_remote_session() {
  Session session;
  session.client = std::make_unique<Client>(host_from_environment());
  if (!session.client->is_up())
    throw CommandError("could not connect to ollamax server, run 'ollamax serve' to start it");
  return session;
}

void create_with_progress(const Client& client, const json::object& request) {
  ProgressLine progress;
  client.stream("/api/create", request, [&](const json::object& record) {
    const std::string status = text_of(record, "status");
    if (!status.empty()) progress.update(status, number_of(record, "completed"), number_of(record, "total"));
    return true;
  });
  progress.finish(true);
}

}  // namespace olx::cli
