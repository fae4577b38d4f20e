#pragma once
// A blocking HTTP client on a plain socket for tests: sends any bytes, well formed or not, and takes the answer apart.

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "tests/support/socket_text.h"

namespace olx::tests {

struct HttpAnswer {
  int status = 0;  // 0: the connection ended without an answer
  std::string head, body;
  std::vector<std::string> chunks;
  bool has_header(std::string_view line) const { return head.find(line) != std::string::npos; }
};

class HttpConnection {
 public:
  explicit HttpConnection(uint16_t port) : fd_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const timeval patience{20, 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (::connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 && !(errno == EINTR && has_connected())) {
      std::perror("connect");
      std::abort();
    }
  }
  ~HttpConnection() { ::close(fd_); }
  HttpConnection(const HttpConnection&) = delete;

  void send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n <= 0) return;  // refused early: the answer is waiting
      bytes.remove_prefix(static_cast<size_t>(n));
    }
  }

  void end() { ::shutdown(fd_, SHUT_WR); }  // nothing more will be sent

  // False while the server may still send: a read that ended may have run out of patience.
  bool has_ended() const {
    char byte;
    const ssize_t n = ::recv(fd_, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
  }

  // Everything up to the end of the connection, as it came.
  std::string rest() {
    while (fill()) {
    }
    return std::move(buffer_);
  }

  HttpAnswer read(bool is_head = false) {
    HttpAnswer answer;
    size_t end;
    while ((end = buffer_.find("\r\n\r\n")) == std::string::npos)
      if (!fill()) return answer;
    answer.head = buffer_.substr(0, end + 2);
    buffer_.erase(0, end + 4);
    answer.status = std::atoi(answer.head.c_str() + 9);
    if (is_head || answer.status == 204 || answer.status == 304 || answer.status == 100) return answer;
    if (answer.has_header("Transfer-Encoding: chunked")) {
      for (;;) {
        std::string chunk;
        if (!read_chunk(chunk) || chunk.empty()) return answer;
        answer.body += chunk;
        answer.chunks.push_back(std::move(chunk));
      }
    }
    const size_t at = answer.head.find("Content-Length: ");
    if (at == std::string::npos) {
      while (fill()) {
      }
      answer.body = std::move(buffer_);
      return answer;
    }
    const size_t length = std::strtoull(answer.head.c_str() + at + 16, nullptr, 10);
    while (buffer_.size() < length)
      if (!fill()) return answer;
    answer.body = buffer_.substr(0, length);
    buffer_.erase(0, length);
    return answer;
  }

  // Waits for the first bytes of an answer that is still being written.
  std::string peek_some() {
    if (buffer_.empty()) fill();
    return buffer_;
  }

 private:
  // After a connect() that a signal interrupted (a fuzzer's alarm does): it goes on by itself.
  bool has_connected() const {
    pollfd waited{.fd = fd_, .events = POLLOUT, .revents = 0};
    while (::poll(&waited, 1, 20'000) < 0 && errno == EINTR) {
    }
    int error = 0;
    socklen_t size = sizeof error;
    return (waited.revents & POLLOUT) != 0 && ::getsockopt(fd_, SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error == 0;
  }
  bool fill() { return read_more(fd_, buffer_); }

  bool read_chunk(std::string& chunk) {
    size_t line;
    while ((line = buffer_.find("\r\n")) == std::string::npos)
      if (!fill()) return false;
    const size_t size = std::strtoull(buffer_.c_str(), nullptr, 16);
    while (buffer_.size() < line + 2 + size + 2)
      if (!fill()) return false;
    chunk = buffer_.substr(line + 2, size);
    buffer_.erase(0, line + 2 + size + 2);
    return true;
  }

  int fd_;
  std::string buffer_;
};

inline HttpAnswer http(uint16_t port, std::string_view method, std::string_view path, std::string_view body = "",
                       std::string_view headers = "") {
  HttpConnection connection(port);
  std::string text = std::string(method) + " " + std::string(path) + " HTTP/1.1\r\nHost: localhost\r\n" +
                     std::string(headers) + "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + std::string(body);
  connection.send(text);
  return connection.read(method == "HEAD");
}

}  // namespace olx::tests
