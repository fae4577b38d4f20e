// Any bytes on a connection to the server: a session that ends, with as many answers as requests reached a handler, and no more
// handlers than there are complete request lines in the bytes. What a proxy in front would count must not be exceeded.
#include <sys/socket.h>

#include <atomic>
#include <cstdlib>
#include <string>
#include <string_view>

#include "server/http/http_server.h"
#include "tests/support/http_client.h"

namespace {

using namespace olx::server;

std::atomic<int> n_handled{0};

void echo(Exchange& exchange) {
  ++n_handled;
  if (exchange.request().body.size() > 1000) std::abort();  // the limit of the route
  exchange.send(200, "text/plain", exchange.request().body);
}
void upload(Exchange& exchange) {
  ++n_handled;
  char piece[64];
  size_t total = 0;
  while (const size_t n = exchange.read_body(piece)) total += n;
  if (total > 3000) std::abort();
  exchange.send(201, "text/plain", "");
}

Route routes(std::string_view, std::string_view path) {
  if (path == "/e") return {200, "", 1000, false, echo};
  if (path == "/u") return {200, "", 3000, true, upload};
  return {404, "404 page not found", 0, false, {}};
}

size_t count(std::string_view text, std::string_view part) {
  size_t n = 0;
  for (size_t at = 0; (at = text.find(part, at)) != std::string_view::npos; at += part.size()) ++n;
  return n;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static HttpServer* const server = [] {
    HttpOptions options;
    options.max_connections_per_address = 4096;
    options.body_timeout_ms = options.idle_timeout_ms = options.header_timeout_ms = 2000;
    return new HttpServer(std::move(options), routes);  // lives as long as the process
  }();
  n_handled = 0;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  std::string answers;
  {
    olx::tests::HttpConnection connection(server->port());
    connection.send(text);
    connection.end();
    // To its end, however slow the machine is: a handler that runs after it would be counted with the next input.
    do answers += connection.rest();
    while (!connection.has_ended());
  }
  if (!answers.empty() && !answers.starts_with("HTTP/1.")) std::abort();
  if (static_cast<size_t>(n_handled) > count(text, " HTTP/1.")) std::abort();
  return 0;
}
