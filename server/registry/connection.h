#pragma once
// Connection: bytes to and from a host over TCP or TLS, with time limits and cancelling. Used by http_client.cpp only.
// Plain sockets and OpenSSL: a blocking wait of 50 ms at a time is all that a download needs, and costs no event loop.

#include <openssl/ssl.h>

#include <chrono>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "server/registry/http_client.h"

namespace olx::server {

class Connection {
 public:
  // Connects to the first of `addresses` that answers: each is given a moment before the next is tried beside it, so that one
  // that swallows packets (IPv6 that leads nowhere) costs that moment and not the connection. NetworkError.
  Connection(const HttpClientOptions& options, const std::vector<std::string>& addresses, uint16_t port);
  Connection(const Connection&) = delete;

  // From now on all bytes are encrypted; the certificate must be one the system trusts, for this host.
  void start_tls(const std::string& host);
  size_t read(std::span<char> out);  // 0: the other side has ended it
  void write(std::string_view bytes);
  void end_writing();  // the other side need not wait for more
  const std::string& address() const { return address_; }

 private:
  using Clock = std::chrono::steady_clock;
  struct Socket {
    Socket() = default;
    explicit Socket(int its_fd) : fd(its_fd) {}
    Socket(Socket&& other) noexcept : fd(std::exchange(other.fd, -1)) {}
    Socket& operator=(Socket&& other) noexcept {
      std::swap(fd, other.fd);
      return *this;
    }
    ~Socket();
    int fd = -1;
  };
  // Waits until the socket is ready for `events` of poll(). NetworkError after the deadline or when cancelled.
  void wait(short events, Clock::time_point deadline, const char* doing);
  [[noreturn]] void fail_tls(int result, const char* doing) const;
  Clock::time_point stall_deadline() const { return Clock::now() + std::chrono::milliseconds(options_.stall_timeout_ms); }

  struct Free {
    void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
    void operator()(SSL* tls) const { SSL_free(tls); }
  };
  const HttpClientOptions& options_;
  Socket socket_;  // a member of its own, so that it is closed when the constructor throws
  std::string address_, host_;
  std::unique_ptr<SSL_CTX, Free> context_;
  std::unique_ptr<SSL, Free> tls_;
};

// The system's resolver. NetworkError.
std::vector<std::string> resolve_host(const std::string& host);

}  // namespace olx::server
