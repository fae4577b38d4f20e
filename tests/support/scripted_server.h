#pragma once
// ScriptedServer: a web server on loopback inside the test program that answers every request with
// the bytes the test gives. One connection at a time, one request a connection. For tests of a
// client in C++.

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <functional>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/support/socket_text.h"

namespace olx::tests {

class ScriptedServer {
 public:
  struct Request {
    std::string head, body;  // the head up to its empty line
  };
  // `answer` gives the bytes of the answer, head and all, or sends them itself through `fd` and
  // gives "".
  using Answer = std::function<std::string(const Request&, int fd)>;

  explicit ScriptedServer(Answer answer, const char* address = "127.0.0.1", uint16_t port = 0)
      : answer_(std::move(answer)) {
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_port = htons(port);
    ::inet_pton(AF_INET, address, &at.sin_addr);
    socklen_t size = sizeof at;
    auto* generic = reinterpret_cast<sockaddr*>(&at);
    if (listener_ < 0 || ::bind(listener_, generic, size) != 0 || ::listen(listener_, 16) != 0 ||
        ::getsockname(listener_, generic, &size) != 0)
      throw std::runtime_error("no port on loopback for the server of the test");
    port_ = ntohs(at.sin_port);
    thread_ = std::thread([this] { run(); });
  }
  ~ScriptedServer() {
    is_stopping_ = true;
    ::shutdown(listener_, SHUT_RDWR);
    thread_.join();
    ::close(listener_);
  }
  ScriptedServer(const ScriptedServer&) = delete;

  uint16_t port() const { return port_; }
  std::string host() const { return "127.0.0.1:" + std::to_string(port_); }
  std::vector<Request> requests() const {
    const std::lock_guard lock(mutex_);
    return requests_;
  }

 private:
  void run() {
    while (!is_stopping_) {
      const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
      if (fd < 0) continue;
      Request request;
      if (read(fd, request)) {
        {
          const std::lock_guard lock(mutex_);
          requests_.push_back(request);
        }
        const std::string bytes = answer_(request, fd);
        ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      }
      ::close(fd);
    }
  }

  static bool read(int fd, Request& request) {
    std::string input;
    auto head = take_head(fd, input);
    if (!head) return false;
    request.head = std::move(*head);
    const size_t length = request.head.find("Content-Length: ");
    const size_t n_body = length == std::string::npos
                              ? 0
                              : std::strtoull(request.head.c_str() + length + 16, nullptr, 10);
    while (input.size() < n_body)
      if (!read_more(fd, input)) return false;
    request.body = std::move(input);
    return true;
  }

  Answer answer_;
  int listener_ = -1;
  uint16_t port_ = 0;
  std::atomic<bool> is_stopping_{false};
  mutable std::mutex mutex_;
  std::vector<Request> requests_;
  std::thread thread_;
};

}  // namespace olx::tests
