#pragma once
// HttpServer: HTTP/1.1 with limits, guards and time-outs; hands every request to a handler on a thread of its own.
// Used by server.cpp and the tests. No Beast or Asio type appears here; what a route does is in api/.

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "server/http/guard.h"

namespace olx::server {

struct HttpRequest {
  std::string method, path, user_agent;
  std::string accept, if_none_match;  // the headers, as they came
  std::string id;    // X-Request-Id of the answer: the client's own where it is short and plain
  std::string body;  // empty for a route that reads the body itself
  std::optional<uint64_t> content_length;  // what the head announced; none for a chunked body
};

// One request and its answer, as the handler sees it. Blocking; used by one thread.
class Exchange {
 public:
  struct Impl;
  explicit Exchange(Impl& impl) : impl_(impl) {}

  const HttpRequest& request() const;
  // The next bytes of the body; 0 at its end. Throws ApiError when the client breaks off or sends too much.
  size_t read_body(std::span<char> out);
  void send(int status, std::string_view content_type, std::string_view body);
  // A line more for the head of the answer, whose text is the program's own; before the answer begins.
  void add_header(std::string_view name, std::string_view value);
  // A streamed answer: each write is one chunk, sent at once. False: the client is gone.
  void begin_stream(std::string_view content_type);
  bool write(std::string_view chunk);
  bool has_begun() const;
  // Whether the client has closed the connection or the server is stopping.
  bool is_gone() const;

 private:
  Impl& impl_;
};

struct Route {
  int status = 200;               // not 200: answered with this and `text`
  std::string text;               // for 301 and 307: the new location
  uint64_t max_body_bytes = 0;
  bool reads_body_itself = false;
  std::function<void(Exchange&)> handler;
  // The body of an error, or its text within a streamed answer; nullptr: {"error": message}, as a line in a stream.
  std::string (*error_text)(int status, std::string_view message, bool is_streamed) = nullptr;
  std::string_view name = {};     // for counters: the table's row; it must outlive the server
  bool is_open = false;            // answered without an API key
};

// A request that has been answered, for logs and counters.
struct AnsweredRequest {
  const HttpRequest& request;  // its method and path are empty when the head could not be read
  std::string_view route;      // Route::name
  int status = 0;              // 499: the client left before an answer
  double seconds = 0;
};

struct HttpOptions {
  std::string host = "127.0.0.1";
  uint16_t port = 0;
  OriginPolicy origins;
  HostPolicy hosts;            // of a server that does not listen on loopback
  ApiKeys keys;
  std::function<void(const AnsweredRequest&)> on_answered;  // called on the io thread: it must not block
  int max_connections = 4096;
  int max_connections_per_address = 256;
  int header_timeout_ms = 10'000;
  int body_timeout_ms = 30'000;
  int idle_timeout_ms = 60'000;
  int write_timeout_ms = 30'000;
};

inline constexpr size_t kMaxTargetBytes = 8 << 10;
inline constexpr size_t kMaxHeaderBytes = 16 << 10;
inline constexpr size_t kMaxHeaders = 100;

class HttpServer {
 public:
  struct Impl;
  using FindRoute = std::function<Route(std::string_view method, std::string_view path)>;
  // Binds and listens; throws std::runtime_error when it cannot.
  HttpServer(HttpOptions options, FindRoute find_route);
  ~HttpServer();  // stops
  uint16_t port() const;
  // From now on requests are refused with 503; those being worked on go on.
  void refuse_new();
  int n_working() const;  // handlers running
  // Closes every connection and waits for the handlers.
  void stop();

 private:
  std::unique_ptr<Impl> impl_;
};

}  // namespace olx::server
