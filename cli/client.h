#pragma once
// Client: the REST API as the commands use it. Blocking, one request at a time, one connection a request.
// A running request can be cut off from a signal handler (interrupt()).

#include <boost/json/value.hpp>
#include <cstdint>
#include <functional>
#include <stdexcept>
#include <string>

namespace olx::cli {

struct HostAddress {
  std::string host = "127.0.0.1";
  std::string port = "11434";
  std::string path_prefix;  // "" or "/prefix"
};

// The server answered with an error. what() is its text.
class ApiError : public std::runtime_error {
 public:
  ApiError(int status, const std::string& text) : std::runtime_error(text), status_(status) {}
  int status() const { return status_; }  // 200 for an error line within a stream

 private:
  int status_;
};

// interrupt() was called while a request was running.
class Interrupted : public std::runtime_error {
 public:
  Interrupted() : std::runtime_error("interrupted") {}
};

class Client {
 public:
  explicit Client(HostAddress address) : address_(std::move(address)) {}

  const HostAddress& address() const { return address_; }
  // Whether something speaks HTTP there.
  bool is_up() const;

  // Each throws ApiError, Interrupted or std::runtime_error (no connection).
  boost::json::value get(const std::string& path) const;
  // null when the answer has no body.
  boost::json::value send(const std::string& method, const std::string& path, const boost::json::value& body) const;
  // Calls on_record for every NDJSON line; it returns false to stop reading.
  void stream(const std::string& path, const boost::json::value& body,
              const std::function<bool(const boost::json::object&)>& on_record) const;
  bool has_blob(const std::string& digest) const;
  // Streams a file as a blob; on_progress gets bytes sent.
  void upload_blob(const std::string& digest, const std::string& file_path,
                   const std::function<void(uint64_t)>& on_progress) const;

  // Async-signal-safe: ends the request that is running now.
  static void interrupt();
  // An interrupt that came when nothing was running is not meant for what runs next.
  static void forget_interrupt();

 private:
  HostAddress address_;
};

}  // namespace olx::cli
