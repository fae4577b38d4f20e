#pragma once
// A blocking HTTP client that gives the lines of a streamed answer as they come: NDJSON and server-sent events alike. Used
// by server_bench.cpp, by many threads at once; each call has a connection of its own.

#include <functional>
#include <string>
#include <string_view>

namespace olx::bench {

struct ServerAddress {
  std::string host, port;
  std::string path_prefix;  // "" or "/prefix"
};

// "http://host:port/prefix". Throws std::runtime_error that says what was expected.
ServerAddress parse_server_url(const std::string& url);

// POSTs `body` and calls on_line for every line without its end. Throws std::runtime_error: no connection, a status other
// than 200 (with the answer's text), an answer that is cut off, a line of more than 64 MiB.
void post_for_lines(const ServerAddress& address, const std::string& path, const std::string& body,
                    const std::function<void(std::string_view)>& on_line);

}  // namespace olx::bench
