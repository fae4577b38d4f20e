#pragma once
// HttpClient: one blocking HTTP/1.1 connection at a time, plain or TLS, straight or through the proxy of the environment.
// Every wait has a time limit and can be cancelled. Used by the registry client; an object belongs to one thread.
// It follows no redirect and knows no credentials: that is registry/client.h.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "server/registry/address.h"
#include "server/registry/url.h"

namespace olx::server {

class NetworkError : public std::runtime_error {
 public:
  enum class Kind {
    kRetry,      // the connection, the server or something on the way failed: another try may do
    kFatal,      // it will be the same next time
    kCancelled,  // nobody wants the answer any more
  };
  NetworkError(Kind kind, const std::string& what, int status = 0)
      : std::runtime_error(what), kind_(kind), status_(status) {}
  Kind kind() const { return kind_; }
  int status() const { return status_; }  // of the answer, when it was one that failed

 private:
  Kind kind_;
  int status_;
};

struct HttpClientOptions {
  int connect_timeout_ms = 15'000;
  int stall_timeout_ms = 30'000;    // a transfer slower than min_bytes_per_s over this time is given up
  int min_bytes_per_s = 1 << 10;
  std::function<bool()> is_cancelled;
  // The addresses of a host; empty: the system's resolver.
  std::function<std::vector<std::string>(const std::string& host)> resolve;
};

// Bytes to send, readable more than once: a request may have to be sent again on a fresh connection.
struct HttpBody {
  uint64_t size_bytes = 0;
  std::function<size_t(uint64_t offset, std::span<char> out)> read;
};

struct HttpCall {
  std::string method = "GET";
  Url url;
  std::vector<std::pair<std::string, std::string>> headers;
  const HttpBody* body = nullptr;
  // Of the registry in whose name `url` is called, when it is not the registry's own host: see may_lead_to().
  std::optional<AddressKind> led_by;
};

struct HttpReply {
  int status = 0;
  std::vector<std::pair<std::string, std::string>> headers;
  std::optional<uint64_t> content_length;
  const std::string* header(std::string_view name) const;  // nullptr: absent
};

class HttpClient {
 public:
  explicit HttpClient(HttpClientOptions options);
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;

  // Sends the call and reads the head of the answer. The connection is used again where it can be.
  HttpReply call(const HttpCall& call);
  // The next bytes of the answer's body; 0 at its end. NetworkError when it ends early.
  size_t read(std::span<char> out);
  // The whole body; NetworkError when it is longer.
  std::string read_all(size_t max_bytes);
  // Ends the connection: what is left of the answer is not wanted.
  void close();
  // What the last connection was to: kPublic when a proxy made it.
  AddressKind peer_kind() const;
  // Throws kCancelled when nobody wants the answer any more.
  void check_cancelled() const;
  // Waits, unless cancelled.
  void sleep(int ms) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace olx::server
