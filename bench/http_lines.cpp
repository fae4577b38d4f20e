#include "bench/http_lines.h"

#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <cstdlib>
#include <stdexcept>

namespace olx::bench {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;

constexpr size_t kMaxLineBytes = 64u << 20;
constexpr size_t kMaxErrorBytes = 2000;  // of a refusal's text

}  // namespace

ServerAddress parse_server_url(const std::string& url) {
  const auto refuse = [&] { throw std::runtime_error("expected a URL such as http://127.0.0.1:11434, got '" + url + "'"); };
  constexpr std::string_view kScheme = "http://";
  if (!url.starts_with(kScheme)) refuse();
  std::string rest = url.substr(kScheme.size());
  ServerAddress address;
  if (const size_t slash = rest.find('/'); slash != std::string::npos) {
    address.path_prefix = rest.substr(slash);
    rest.erase(slash);
    while (address.path_prefix.ends_with('/')) address.path_prefix.pop_back();
  }
  const size_t colon = rest.rfind(':');
  const bool has_port = colon != std::string::npos && rest.find(']', colon) == std::string::npos;
  address.host = rest.substr(0, has_port ? colon : rest.size());
  address.port = has_port ? rest.substr(colon + 1) : "80";
  if (address.host.starts_with('[') && address.host.ends_with(']')) address.host = address.host.substr(1, address.host.size() - 2);
  if (address.host.empty() || address.port.empty() || address.port.size() > 5 || address.port.find_first_not_of("0123456789") != std::string::npos) refuse();
  return address;
}

void post_for_lines(const ServerAddress& address, const std::string& path, const std::string& body,
                    const std::function<void(std::string_view)>& on_line) {
  try {
    asio::io_context io;
    asio::ip::tcp::socket socket(io);
    asio::ip::tcp::resolver resolver(io);
    asio::connect(socket, resolver.resolve(address.host, address.port));
    socket.set_option(asio::ip::tcp::no_delay(true));
    http::request<http::string_body> request(http::verb::post, address.path_prefix + path, 11);
    request.set(http::field::host, address.host + ":" + address.port);
    request.set(http::field::user_agent, "ollamax-bench");
    request.set(http::field::content_type, "application/json");
    request.set(http::field::connection, "close");
    // The first of the server's keys, as the commands of ollamax send it.
    if (const char* keys = std::getenv("OLLAMAX_API_KEYS"); keys != nullptr && *keys != '\0')
      request.set(http::field::authorization, "Bearer " + std::string(keys).substr(0, std::string(keys).find(',')));
    request.body() = body;
    request.prepare_payload();
    http::write(socket, request);

    beast::flat_buffer buffer;
    http::response_parser<http::buffer_body> parser;
    parser.body_limit(boost::none);
    http::read_header(socket, buffer, parser);
    std::string pending;
    char chunk[16384];
    const bool is_good = parser.get().result() == http::status::ok;
    while (!parser.is_done()) {
      parser.get().body().data = chunk;
      parser.get().body().size = sizeof chunk;
      boost::system::error_code failed;
      http::read_some(socket, buffer, parser, failed);
      if (failed && failed != http::error::need_buffer) throw boost::system::system_error(failed);
      pending.append(chunk, sizeof chunk - parser.get().body().size);
      if (pending.size() > kMaxLineBytes) throw std::runtime_error("the server sent a line that is too long");
      size_t start = 0;
      for (size_t end; is_good && (end = pending.find('\n', start)) != std::string::npos; start = end + 1) {
        std::string_view line = std::string_view(pending).substr(start, end - start);
        if (line.ends_with('\r')) line.remove_suffix(1);
        on_line(line);
      }
      pending.erase(0, start);
    }
    if (!is_good)
      throw std::runtime_error("the server answered " + std::to_string(parser.get().result_int()) + ": " + pending.substr(0, kMaxErrorBytes));
    if (!pending.empty()) on_line(pending);
  } catch (const boost::system::system_error& error) {
    throw std::runtime_error(address.host + ":" + address.port + ": " + error.code().message());
  }
}

}  // namespace olx::bench
