#include "cli/client.h"

#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/json.hpp>
#include <cstdlib>
#include <string_view>

namespace olx::cli {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
namespace json = boost::json;

constexpr size_t kMaxLineBytes = 64u << 20;  // one NDJSON record

std::atomic<int> g_socket{-1};  // of the running request, for interrupt()
std::atomic<bool> g_interrupted{false};

// One request and the connection it lives on.
class Exchange {
 public:
  explicit Exchange(const HostAddress& address) : socket_(io_) {
    asio::ip::tcp::resolver resolver(io_);
    asio::connect(socket_, resolver.resolve(address.host, address.port));
    socket_.set_option(asio::ip::tcp::no_delay(true));
    g_socket = socket_.native_handle();
    if (g_interrupted) ::shutdown(socket_.native_handle(), SHUT_RDWR);  // it came before there was a socket to cut
  }
  ~Exchange() { g_socket = -1; }
  Exchange(const Exchange&) = delete;
  Exchange& operator=(const Exchange&) = delete;

  asio::ip::tcp::socket& socket() { return socket_; }
  beast::flat_buffer& buffer() { return buffer_; }

 private:
  asio::io_context io_;
  asio::ip::tcp::socket socket_;
  beast::flat_buffer buffer_;
};

// Runs fn and turns the error of a cut connection into Interrupted. An interrupt ends one request and is used up by it.
template <typename Fn>
auto guarded(Fn fn) {
  struct UsedUp {
    ~UsedUp() { g_interrupted = false; }
  } const used_up;
  try {
    return fn();
  } catch (const boost::system::system_error& error) {
    if (g_interrupted) throw Interrupted();
    throw std::runtime_error("connection to the server failed: " + error.code().message());
  }
}

// The server's keys, where this side knows them: the first one will do.
std::string api_key() {
  const char* set = std::getenv("OLLAMAX_API_KEYS");
  std::string key = set == nullptr ? "" : set;
  constexpr std::string_view kAround = " \t\r\n\"',";
  key.erase(0, key.find_first_not_of(kAround));
  return key.substr(0, key.find_first_of(kAround));
}

http::request<http::string_body> make_request(const HostAddress& address, http::verb verb, const std::string& path) {
  http::request<http::string_body> request(verb, address.path_prefix + path, 11);
  request.set(http::field::host, address.host + ":" + address.port);
  request.set(http::field::user_agent, "ollamax");
  request.set(http::field::connection, "close");
  if (const std::string key = api_key(); !key.empty()) request.set(http::field::authorization, "Bearer " + key);
  return request;
}

std::string error_text(const std::string& body) {
  boost::system::error_code failed;
  const json::value value = json::parse(body, failed);
  if (!failed && value.is_object())
    if (const json::value* text = value.as_object().if_contains("error"); text && text->is_string())
      return std::string(text->as_string());
  return body;
}

std::string read_whole(Exchange& exchange, int& status) {
  http::response_parser<http::string_body> parser;
  parser.body_limit(kMaxLineBytes);
  http::read(exchange.socket(), exchange.buffer(), parser);
  status = static_cast<int>(parser.get().result_int());
  return std::move(parser.get().body());
}

}  // namespace

void Client::forget_interrupt() { g_interrupted = false; }

void Client::interrupt() {
  g_interrupted = true;
  if (const int fd = g_socket; fd >= 0) ::shutdown(fd, SHUT_RDWR);
}

bool Client::is_up() const {
  try {
    Exchange exchange(address_);
    auto request = make_request(address_, http::verb::head, "/");
    http::write(exchange.socket(), request);
    http::response_parser<http::empty_body> parser;
    parser.skip(true);
    http::read_header(exchange.socket(), exchange.buffer(), parser);
    return true;
  } catch (const boost::system::system_error&) {
    return false;
  }
}

json::value Client::get(const std::string& path) const {
  return guarded([&] {
    Exchange exchange(address_);
    auto request = make_request(address_, http::verb::get, path);
    http::write(exchange.socket(), request);
    int status = 0;
    const std::string body = read_whole(exchange, status);
    if (status >= 400) throw ApiError(status, error_text(body));
    return json::parse(body);
  });
}

json::value Client::send(const std::string& method, const std::string& path, const json::value& body) const {
  return guarded([&]() -> json::value {
    Exchange exchange(address_);
    auto request = make_request(address_, http::string_to_verb(method), path);
    request.set(http::field::content_type, "application/json");
    request.body() = json::serialize(body);
    request.prepare_payload();
    http::write(exchange.socket(), request);
    int status = 0;
    const std::string answer = read_whole(exchange, status);
    if (status >= 400) throw ApiError(status, error_text(answer));
    return answer.empty() ? json::value() : json::parse(answer);
  });
}

void Client::stream(const std::string& path, const json::value& body,
                    const std::function<bool(const json::object&)>& on_record) const {
  guarded([&] {
    Exchange exchange(address_);
    auto request = make_request(address_, http::verb::post, path);
    request.set(http::field::content_type, "application/json");
    request.body() = json::serialize(body);
    request.prepare_payload();
    http::write(exchange.socket(), request);

    http::response_parser<http::buffer_body> parser;
    parser.body_limit(boost::none);
    http::read_header(exchange.socket(), exchange.buffer(), parser);
    const int status = static_cast<int>(parser.get().result_int());
    std::string pending;
    char chunk[16384];
    while (!parser.is_done()) {
      parser.get().body().data = chunk;
      parser.get().body().size = sizeof chunk;
      boost::system::error_code failed;
      http::read_some(exchange.socket(), exchange.buffer(), parser, failed);
      if (failed && failed != http::error::need_buffer) throw boost::system::system_error(failed);
      pending.append(chunk, sizeof chunk - parser.get().body().size);
      if (pending.size() > kMaxLineBytes) throw std::runtime_error("the server sent a line that is too long");
      if (status >= 400) continue;
      size_t start = 0;
      for (size_t end; (end = pending.find('\n', start)) != std::string::npos; start = end + 1) {
        if (end == start) continue;
        const json::value record = json::parse(std::string_view(pending).substr(start, end - start));
        if (const json::value* text = record.as_object().if_contains("error"); text && text->is_string())
          throw ApiError(200, std::string(text->as_string()));
        if (!on_record(record.as_object())) return;
      }
      pending.erase(0, start);
    }
    if (status >= 400) throw ApiError(status, error_text(pending));
    if (!pending.empty() && pending.find_first_not_of(" \r\n") != std::string::npos)
      on_record(json::parse(pending).as_object());  // one object without a line end
  });
}

bool Client::has_blob(const std::string& digest) const {
  return guarded([&] {
    Exchange exchange(address_);
    auto request = make_request(address_, http::verb::head, "/api/blobs/" + digest);
    http::write(exchange.socket(), request);
    http::response_parser<http::empty_body> parser;
    parser.skip(true);
    http::read_header(exchange.socket(), exchange.buffer(), parser);
    return parser.get().result() == http::status::ok;
  });
}

void Client::upload_blob(const std::string& digest, const std::string& file_path,
                         const std::function<void(uint64_t)>& on_progress) const {
  guarded([&] {
    boost::system::error_code failed;
    beast::file file;
    file.open(file_path.c_str(), beast::file_mode::scan, failed);
    if (failed) throw std::runtime_error(file_path + ": " + failed.message());
    const uint64_t size_bytes = file.size(failed);
    Exchange exchange(address_);
    http::request<http::buffer_body> request(http::verb::post, address_.path_prefix + "/api/blobs/" + digest, 11);
    request.set(http::field::host, address_.host + ":" + address_.port);
    request.set(http::field::user_agent, "ollamax");
    request.set(http::field::content_type, "application/octet-stream");
    if (const std::string key = api_key(); !key.empty()) request.set(http::field::authorization, "Bearer " + key);
    request.set(http::field::connection, "close");
    request.content_length(size_bytes);
    request.body().data = nullptr;
    request.body().more = size_bytes > 0;
    http::request_serializer<http::buffer_body> serializer(request);
    http::write_header(exchange.socket(), serializer);
    std::string chunk(1 << 20, '\0');
    uint64_t sent = 0;
    while (sent < size_bytes) {
      boost::system::error_code read_failed;  // read() does not clear what a write left behind
      const size_t n = file.read(chunk.data(), chunk.size(), read_failed);
      if (read_failed) throw std::runtime_error(file_path + ": " + read_failed.message());
      if (n == 0) throw std::runtime_error(file_path + ": it became shorter while it was read");
      request.body().data = chunk.data();
      request.body().size = n;
      request.body().more = sent + n < size_bytes;
      http::write(exchange.socket(), serializer, failed);
      if (failed && failed != http::error::need_buffer) break;  // the server may have answered early with an error
      sent += n;
      on_progress(sent);
    }
    int status = 0;
    const std::string answer = read_whole(exchange, status);
    if (status >= 400) throw ApiError(status, error_text(answer));
  });
}

}  // namespace olx::cli
