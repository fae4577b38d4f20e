#include "server/registry/connection.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "server/registry/address.h"
#include "server/store/sys.h"

namespace olx::server {
namespace {

using Kind = NetworkError::Kind;
constexpr int kSliceMs = 50;  // how long cancelling may go unnoticed
constexpr int kHeadStartMs = 250;  // of an address before the next one is tried too: RFC 8305
// What has arrived and was not read is lost with this process, and the system would let it grow to tens of MiB while a disk
// is slow. This is the most that every Linux grants without being told to (net.core.rmem_max). The system doubles it and counts
// its own costs in: at most 380 KiB of data a connection, of which a download has sixteen. Half of it is the window: 2 MB/s a
// connection at 100 ms of round trip, which is why there are so many.
constexpr int kReceiveBuffer = 208 << 10;

sockaddr_storage socket_address(const std::string& text, uint16_t port, socklen_t& size) {
  sockaddr_storage storage{};
  auto* v4 = reinterpret_cast<sockaddr_in*>(&storage);
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&storage);
  if (::inet_pton(AF_INET, text.c_str(), &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(port);
    size = sizeof *v4;
  } else {
    ::inet_pton(AF_INET6, text.c_str(), &v6->sin6_addr);
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(port);
    size = sizeof *v6;
  }
  return storage;
}

// 0 when it is connected, EINPROGRESS when it will be, or what went wrong. `fd` is the caller's to close in any case.
int begin_to_connect(int& fd, const std::string& address, uint16_t port) {
  socklen_t size = 0;
  const sockaddr_storage to = socket_address(address, port, size);
  fd = ::socket(to.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return errno;
  ::setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &kReceiveBuffer, sizeof kReceiveBuffer);
  if (sys::connect(fd, reinterpret_cast<const sockaddr*>(&to), size) == 0) return 0;
  return errno == EINTR ? EINPROGRESS : errno;
}

// OpenSSL's way to the socket. Its own would call the kernel past the seam of sys.h, and its writes would raise SIGPIPE.
int fd_of(BIO* bio) { return static_cast<int>(reinterpret_cast<intptr_t>(BIO_get_data(bio))); }
bool is_retry(int error) { return error == EAGAIN || error == EWOULDBLOCK || error == EINTR; }

int tls_send(BIO* bio, const char* bytes, int n) {
  BIO_clear_retry_flags(bio);
  const ssize_t n_sent = sys::send(fd_of(bio), bytes, static_cast<size_t>(n), MSG_NOSIGNAL);
  if (n_sent < 0 && is_retry(errno)) BIO_set_retry_write(bio);
  return static_cast<int>(n_sent);
}

int tls_receive(BIO* bio, char* bytes, int n) {
  BIO_clear_retry_flags(bio);
  const ssize_t n_read = sys::recv(fd_of(bio), bytes, static_cast<size_t>(n), 0);
  if (n_read < 0 && is_retry(errno)) BIO_set_retry_read(bio);
  return static_cast<int>(n_read);
}

long tls_control(BIO*, int command, long, void*) { return command == BIO_CTRL_FLUSH ? 1 : 0; }

// nullptr when there is no memory. The socket stays the connection's.
BIO* socket_bio(int fd) {
  static BIO_METHOD* const method = [] {
    BIO_METHOD* made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "socket");
    if (made != nullptr) {
      BIO_meth_set_write(made, tls_send);
      BIO_meth_set_read(made, tls_receive);
      BIO_meth_set_ctrl(made, tls_control);
    }
    return made;
  }();
  BIO* bio = method == nullptr ? nullptr : BIO_new(method);
  if (bio == nullptr) return nullptr;
  BIO_set_data(bio, reinterpret_cast<void*>(static_cast<intptr_t>(fd)));
  BIO_set_init(bio, 1);
  return bio;
}

}  // namespace

std::vector<std::string> resolve_host(const std::string& host) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (const int error = ::getaddrinfo(host.c_str(), nullptr, &hints, &found); error != 0)
    throw NetworkError(error == EAI_AGAIN ? Kind::kRetry : Kind::kFatal, "lookup " + host + ": " + ::gai_strerror(error));
  std::vector<std::string> addresses;
  for (const addrinfo* at = found; at != nullptr; at = at->ai_next) {
    char text[NI_MAXHOST];
    if (::getnameinfo(at->ai_addr, at->ai_addrlen, text, sizeof text, nullptr, 0, NI_NUMERICHOST) == 0) addresses.emplace_back(text);
  }
  ::freeaddrinfo(found);
  return addresses;
}

Connection::Connection(const HttpClientOptions& options, const std::vector<std::string>& addresses, uint16_t port)
    : options_(options) {
  struct Attempt {
    Socket socket;
    const std::string* address;
  };
  std::vector<Attempt> pending;
  std::string why = "the host has no address";
  const auto deadline = Clock::now() + std::chrono::milliseconds(options.connect_timeout_ms);
  auto next_at = Clock::now();
  // Whether this one has the connection. A failure makes the next one's turn come at once.
  const auto settle = [&](Attempt& attempt, int error) {
    if (error != 0) {
      why = std::strerror(error);
      next_at = Clock::now();
      return false;
    }
    const int on = 1;
    ::setsockopt(attempt.socket.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    socket_ = std::move(attempt.socket);
    address_ = *attempt.address;
    return true;
  };
  for (auto next = addresses.begin();;) {
    if (options.is_cancelled && options.is_cancelled()) throw NetworkError(Kind::kCancelled, "cancelled");
    if (next != addresses.end() && (pending.empty() || Clock::now() >= next_at)) {
      Attempt attempt{Socket(), &*next++};
      next_at = Clock::now() + std::chrono::milliseconds(kHeadStartMs);
      const int error = begin_to_connect(attempt.socket.fd, *attempt.address, port);
      if (error == EINPROGRESS) pending.push_back(std::move(attempt));
      else if (settle(attempt, error)) return;
      continue;
    }
    if (pending.empty()) throw NetworkError(Kind::kRetry, "connect: " + why);
    if (Clock::now() >= deadline) throw NetworkError(Kind::kRetry, "connect: the other side did not answer in time");
    std::vector<pollfd> ready;
    for (const Attempt& attempt : pending) ready.push_back({attempt.socket.fd, POLLOUT, 0});
    if (::poll(ready.data(), ready.size(), kSliceMs) <= 0) continue;
    for (size_t i = ready.size(); i-- > 0;) {
      if (ready[i].revents == 0) continue;
      int error = 0;
      socklen_t error_size = sizeof error;
      ::getsockopt(ready[i].fd, SOL_SOCKET, SO_ERROR, &error, &error_size);
      if (settle(pending[i], error)) return;
      pending.erase(pending.begin() + static_cast<std::ptrdiff_t>(i));
    }
  }
}

Connection::Socket::~Socket() {
  if (fd >= 0) sys::close(fd);
}

void Connection::wait(short events, Clock::time_point deadline, const char* doing) {
  for (;;) {
    if (options_.is_cancelled && options_.is_cancelled()) throw NetworkError(Kind::kCancelled, "cancelled");
    pollfd ready{socket_.fd, events, 0};
    const int n = ::poll(&ready, 1, kSliceMs);
    if (n > 0) return;
    if (n < 0 && errno != EINTR) throw NetworkError(Kind::kRetry, std::string(doing) + ": " + std::strerror(errno));
    if (Clock::now() >= deadline) throw NetworkError(Kind::kRetry, std::string(doing) + ": the other side did not answer in time");
  }
}

void Connection::fail_tls(int result, const char* doing) const {
  const long verdict = SSL_get_verify_result(tls_.get());
  if (verdict != X509_V_OK)
    throw NetworkError(Kind::kFatal, "tls: the certificate of " + host_ + " is not accepted: " + X509_verify_cert_error_string(verdict));
  const unsigned long code = ERR_get_error();
  ERR_clear_error();
  const char* reason = code == 0 ? nullptr : ERR_reason_error_string(code);
  const int error = SSL_get_error(tls_.get(), result);
  const std::string text = reason != nullptr ? reason : error == SSL_ERROR_SYSCALL && errno != 0 ? std::strerror(errno) : "the connection broke";
  throw NetworkError(Kind::kRetry, std::string(doing) + ": tls: " + text);
}

void Connection::start_tls(const std::string& host) {
  host_ = host;
  context_.reset(SSL_CTX_new(TLS_client_method()));
  if (!context_ || SSL_CTX_set_default_verify_paths(context_.get()) != 1)
    throw NetworkError(Kind::kFatal, "tls: the certificates of this system cannot be read");
  SSL_CTX_set_min_proto_version(context_.get(), TLS1_2_VERSION);
  SSL_CTX_set_verify(context_.get(), SSL_VERIFY_PEER, nullptr);
  tls_.reset(SSL_new(context_.get()));
  BIO* bio = tls_ != nullptr ? socket_bio(socket_.fd) : nullptr;
  bool is_set = bio != nullptr;
  if (is_set) SSL_set_bio(tls_.get(), bio, bio);
  if (is_address(host)) {
    is_set = is_set && X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(tls_.get()), host.c_str()) == 1;
  } else {
    is_set = is_set && SSL_set1_host(tls_.get(), host.c_str()) == 1 && SSL_set_tlsext_host_name(tls_.get(), host.c_str()) == 1;
  }
  if (!is_set) throw NetworkError(Kind::kFatal, "tls: cannot be set up for " + host);
  const auto deadline = Clock::now() + std::chrono::milliseconds(options_.connect_timeout_ms);
  for (;;) {
    ERR_clear_error();
    const int result = SSL_connect(tls_.get());
    if (result == 1) return;
    const int error = SSL_get_error(tls_.get(), result);
    if (error == SSL_ERROR_WANT_READ) wait(POLLIN, deadline, "tls handshake");
    else if (error == SSL_ERROR_WANT_WRITE) wait(POLLOUT, deadline, "tls handshake");
    else fail_tls(result, "handshake");
  }
}

size_t Connection::read(std::span<char> out) {
  const auto deadline = stall_deadline();
  for (;;) {
    if (tls_) {
      ERR_clear_error();
      size_t n = 0;
      const int result = SSL_read_ex(tls_.get(), out.data(), out.size(), &n);
      if (result == 1) return n;
      const int error = SSL_get_error(tls_.get(), result);
      if (error == SSL_ERROR_ZERO_RETURN) return 0;
      if (error == SSL_ERROR_WANT_READ) wait(POLLIN, deadline, "read");
      else if (error == SSL_ERROR_WANT_WRITE) wait(POLLOUT, deadline, "read");
      else fail_tls(result, "read");
      continue;
    }
    const ssize_t n = sys::recv(socket_.fd, out.data(), out.size(), 0);
    if (n >= 0) return static_cast<size_t>(n);
    if (errno == EAGAIN || errno == EWOULDBLOCK) wait(POLLIN, deadline, "read");
    else if (errno != EINTR) throw NetworkError(Kind::kRetry, std::string("read: ") + std::strerror(errno));
  }
}

void Connection::end_writing() { ::shutdown(socket_.fd, SHUT_WR); }

void Connection::write(std::string_view bytes) {
  auto deadline = stall_deadline();
  while (!bytes.empty()) {
    if (tls_) {
      ERR_clear_error();
      size_t n = 0;
      const int result = SSL_write_ex(tls_.get(), bytes.data(), bytes.size(), &n);
      if (result == 1) {
        bytes.remove_prefix(n);
        deadline = stall_deadline();
        continue;
      }
      const int error = SSL_get_error(tls_.get(), result);
      if (error == SSL_ERROR_WANT_READ) wait(POLLIN, deadline, "write");
      else if (error == SSL_ERROR_WANT_WRITE) wait(POLLOUT, deadline, "write");
      else fail_tls(result, "write");
      continue;
    }
    const ssize_t n = sys::send(socket_.fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n > 0) {
      bytes.remove_prefix(static_cast<size_t>(n));
      deadline = stall_deadline();
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      wait(POLLOUT, deadline, "write");
    } else if (errno != EINTR) {
      throw NetworkError(Kind::kRetry, std::string("write: ") + std::strerror(errno));
    }
  }
}

}  // namespace olx::server
