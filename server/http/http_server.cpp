#include "server/http/http_server.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <unistd.h>

#include <boost/asio.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http/buffer_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>
#include <optional>
#include <random>
#include <set>
#include <thread>

#include "server/http/api_error.h"
#include "server/json/json.h"

namespace olx::server {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using asio::ip::tcp;
using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;
constexpr auto kAsTuple = asio::as_tuple(asio::use_awaitable);

namespace {

constexpr size_t kReadBytes = 64 << 10;
constexpr std::string_view kJson = "application/json; charset=utf-8";
// NOTE: g++ 12 destroys some temporaries of a co_await expression twice (GCC PR 98401 and others): in a coroutine a
// std::string argument is always a named variable here.
constexpr std::string_view kText = "text/plain; charset=utf-8";

std::string error_text(const Route& route, int status, std::string_view message, bool is_streamed) {
  if (route.error_text != nullptr) return route.error_text(status, message, is_streamed);
  return go_json(boost::json::object{{"error", message}}) + (is_streamed ? "\n" : "");
}

// What is wrong with the head of a request besides its syntax; 0: nothing. The framing rules are stricter than
// Beast's, which lets an unknown Transfer-Encoding and a repeated Content-Length pass (request smuggling).
int fault_of(const http::fields& fields, unsigned version, std::string_view target) {
  if (target.size() > kMaxTargetBytes) return 414;
  size_t n_fields = 0;
  for (const auto& field : fields) {
    if (++n_fields > kMaxHeaders || field.name_string().size() + field.value().size() > kMaxTargetBytes) return 431;
  }
  const size_t n_hosts = fields.count(http::field::host);
  const size_t n_lengths = fields.count(http::field::content_length);
  const size_t n_encodings = fields.count(http::field::transfer_encoding);
  if (n_hosts > 1 || (version == 11 && n_hosts != 1) || n_lengths > 1 || n_encodings > 1) return 400;
  if (n_encodings == 1 && (version != 11 || n_lengths != 0 ||
                           !beast::iequals(fields[http::field::transfer_encoding], "chunked")))
    return 400;
  if (n_lengths == 1)
    for (const char c : fields[http::field::content_length])
      if (c < '0' || c > '9') return 400;
  if (!target.starts_with('/') || is_host_malformed(std::string_view(fields[http::field::host]))) return 400;
  const auto encoding = fields[http::field::content_encoding];
  return encoding.empty() || beast::iequals(encoding, "identity") ? 0 : 415;
}

std::string_view reason_of(int status) {
  switch (status) {
    case 499: return "Client Closed Request";
    default: return http::obsolete_reason(static_cast<http::status>(status));
  }
}

std::string machine_name() {
  char name[256] = {};
  return ::gethostname(name, sizeof name - 1) == 0 ? name : "";
}

}  // namespace

struct HttpServer::Impl {
  HttpOptions options;
  FindRoute find_route;
  asio::io_context io{1};
  tcp::acceptor acceptor{io};
  bool is_loopback = true;
  std::string hostname = machine_name();
  std::thread thread;
  std::atomic<bool> is_stopping{false}, is_refusing{false};
  // Touched on the io thread only.
  std::mt19937_64 random_ids{std::random_device()()};
  std::set<Exchange::Impl*> sessions;
  std::map<std::string, int> n_by_address;
  // Handlers running.
  std::mutex mutex;
  std::condition_variable idle;
  int n_handlers = 0;

  asio::awaitable<void> accept_all();
  asio::awaitable<void> serve(tcp::socket socket);
};

// One connection.
struct Exchange::Impl {
  HttpServer::Impl& server;
  beast::tcp_stream stream;
  beast::flat_buffer buffer{kReadBytes + kMaxHeaderBytes};
  std::optional<http::request_parser<http::buffer_body>> parser;
  HttpRequest request;
  Route route;
  std::string cors, added;  // header lines: of the guards, of the handler
  bool is_http10 = false, keeps_alive = true, is_chunked = false;
  std::atomic<bool> is_gone{false};
  bool has_begun = false;
  int status_sent = 0;  // 0: no answer has begun
  uint64_t n_body_bytes = 0;
  Clock::time_point head_start, body_start;
  // A chunk that says it is too long is refused before its bytes come.
  std::function<void(uint64_t, beast::string_view, beast::error_code&)> on_chunk =
      [this](uint64_t size_bytes, beast::string_view, beast::error_code& error) {
        if (size_bytes > route.max_body_bytes) error = http::error::body_limit;
      };

  Impl(HttpServer::Impl& owner, tcp::socket socket) : server(owner), stream(std::move(socket)) {}

  asio::awaitable<void> run() {
    while (co_await one_request()) report();
    report();
    boost::system::error_code ignored;
    stream.socket().shutdown(tcp::socket::shutdown_send, ignored);
  }

  void report() {
    if (request.method.empty() && status_sent == 0) return;  // the connection ended before a request
    if (!server.options.on_answered) return;
    const double seconds = std::chrono::duration<double>(Clock::now() - head_start).count();
    server.options.on_answered({request, route.name, status_sent == 0 ? 499 : status_sent, seconds});
  }

  // The client's own id when it is harmless in a header and a log, otherwise a new one.
  std::string request_id() {
    const std::string given(parser->get()["X-Request-Id"]);
    const bool is_plain = std::all_of(given.begin(), given.end(), [](unsigned char c) {
      return std::isalnum(c) != 0 || c == '-' || c == '_' || c == '.';
    });
    if (!given.empty() && given.size() <= 64 && is_plain) return given;
    return fmt::format("{:016x}", server.random_ids());
  }

  // Reads one request and answers it. False: the connection ends.
  asio::awaitable<bool> one_request() {
    parser.emplace();
    parser->header_limit(kMaxHeaderBytes);
    parser->body_limit(boost::none);  // counted here, against the route's limit
    parser->on_chunk_header(on_chunk);
    request = {};
    request.id = fmt::format("{:016x}", server.random_ids());
    route = {};
    has_begun = false;
    status_sent = 0;
    head_start = Clock::now();
    n_body_bytes = 0;
    cors.clear();
    added.clear();
    keeps_alive = true;
    if (buffer.size() == 0) {
      stream.expires_after(milliseconds(server.options.idle_timeout_ms));
      const auto [error, n] = co_await stream.async_read_some(buffer.prepare(4096), kAsTuple);
      if (error) co_return false;
      buffer.commit(n);
      head_start = Clock::now();
    }
    stream.expires_after(milliseconds(server.options.header_timeout_ms));
    const auto [error, n_read] = co_await http::async_read_header(stream, buffer, *parser, kAsTuple);
    if (error == http::error::end_of_stream) co_return false;
    if (error) {
      const bool is_long = error == http::error::header_limit || error == http::error::buffer_overflow;
      const int status = error == beast::error::timeout ? 408 : is_long ? 431 : 400;
      co_return co_await refuse(status);
    }
    const auto& head = parser->get();
    is_http10 = head.version() == 10;
    keeps_alive = head.keep_alive() && !server.is_refusing;
    request.id = request_id();
    request.method = std::string(head.method_string());
    if (head.version() != 10 && head.version() != 11) co_return co_await refuse(505);
    const std::string target(head.target());
    if (const int fault = fault_of(head, head.version(), target)) co_return co_await refuse(fault);
    request.path = target.substr(0, target.find('?'));
    if (!co_await pass_guards()) co_return keeps_alive;
    route = server.find_route(request.method, request.path);
    if (server.is_refusing) {
      const std::string text = "the server is stopping";
      co_return co_await refuse(503, text);
    }
    if (!is_admitted()) {
      cors += "WWW-Authenticate: Bearer\r\n";
      const std::string text = "unauthorized: a valid API key is required";
      co_return co_await refuse(401, text);
    }
    request.user_agent = std::string(head[http::field::user_agent]);
    request.accept = std::string(head[http::field::accept]);
    request.if_none_match = std::string(head[http::field::if_none_match]);
    if (route.status != 200) {
      keeps_alive = keeps_alive && parser->is_done();
      if (route.status == 301 || route.status == 307) cors += "Location: " + route.text + "\r\n";
      if (route.status == 301 || route.status == 307) route.text.clear();
      co_await send(route.status, kText, route.text);
      co_return keeps_alive;
    }
    const auto length = parser->content_length();
    if (length && *length > route.max_body_bytes) co_return co_await refuse(413);
    if (length) request.content_length = *length;
    if (beast::iequals(head[http::field::expect], "100-continue")) {
      std::string go_on = "HTTP/1.1 100 Continue\r\n\r\n";
      co_await send_raw(std::move(go_on));
    }
    body_start = Clock::now();
    if (!route.reads_body_itself) {
      std::vector<char> piece(kReadBytes);
      while (!parser->is_done()) {
        int status = 0;
        const size_t n = co_await read_some(piece, status);
        if (status != 0) co_return co_await refuse(status);
        request.body.append(piece.data(), n);
      }
    }
    co_return co_await run_handler();
  }

  bool is_admitted() const {
    if (!server.options.keys.are_required() || route.is_open) return true;
    const auto& head = parser->get();
    return server.options.keys.admit(std::string_view(head[http::field::authorization]), std::string_view(head["X-Api-Key"]));
  }

  asio::awaitable<bool> refuse(int status) { return refuse(status, std::string(reason_of(status))); }

  asio::awaitable<bool> refuse(int status, std::string text) {
    keeps_alive = false;
    const std::string body = error_text(route, status, text, false);
    co_await send(status, kJson, body);
    co_return false;
  }

  // Host first, then Origin: under DNS rebinding the Host is the only wall.
  asio::awaitable<bool> pass_guards() {
    const auto& head = parser->get();
    const std::string host(head[http::field::host]);
    int status = 0;
    const bool is_answered_under = server.is_loopback ? is_host_allowed(host, server.hostname)
                                                      : server.options.hosts.allows(host, server.hostname, head.count(http::field::origin) != 0);
    if (!is_answered_under) status = 403;
    const bool is_options = request.method == "OPTIONS";
    if (status == 0 && head.count(http::field::origin) != 0) {
      const std::string origin(head[http::field::origin]);
      const auto verdict = server.options.origins.judge(origin, host);
      if (verdict == OriginPolicy::Verdict::kDenied || head.count(http::field::origin) > 1) status = 403;
      else if (verdict == OriginPolicy::Verdict::kAllowedAny) cors = "Access-Control-Allow-Origin: *\r\n";
      else if (verdict == OriginPolicy::Verdict::kAllowed)
        cors = "Access-Control-Allow-Origin: " + origin + "\r\nVary: Origin\r\n";
      if (is_options && !cors.empty()) {
        cors += "Access-Control-Allow-Methods: GET,POST,PUT,PATCH,DELETE,HEAD\r\n"
                "Access-Control-Allow-Headers: Authorization,Content-Type,User-Agent,Accept,X-Requested-With,"
                "Openai-Beta,X-Stainless-Arch,X-Stainless-Async,X-Stainless-Custom-Poll-Interval,X-Stainless-Helper-Method,"
                "X-Stainless-Lang,X-Stainless-Os,X-Stainless-Package-Version,X-Stainless-Poll-Helper,"
                "X-Stainless-Retry-Count,X-Stainless-Runtime,X-Stainless-Runtime-Version,X-Stainless-Timeout\r\n"
                "Access-Control-Max-Age: 43200\r\n";
      }
    }
    if (status == 0 && is_options) status = 204;
    if (status == 0) co_return true;
    keeps_alive = keeps_alive && parser->is_done();
    co_await send(status, "", "");
    co_return false;
  }

  // Reads body bytes. status: 0, or why it failed.
  asio::awaitable<size_t> read_some(std::span<char> out, int& status) {
    while (!parser->is_done()) {
      auto& body = parser->get().body();
      body.data = out.data();
      body.size = out.size();
      stream.expires_after(milliseconds(server.options.body_timeout_ms));
      const auto [error, n_wire] = co_await http::async_read_some(stream, buffer, *parser, kAsTuple);
      const size_t n = out.size() - body.size;
      n_body_bytes += n;
      const auto elapsed = std::chrono::duration_cast<std::chrono::seconds>(Clock::now() - body_start).count();
      const bool is_slow = elapsed > 10 && n_body_bytes < static_cast<uint64_t>(elapsed) * 1024;
      if (n_body_bytes > route.max_body_bytes || error == http::error::body_limit) status = 413;
      else if (error == beast::error::timeout || (is_slow && !parser->is_done())) status = 408;
      else if (error && error != http::error::need_buffer) status = 400;
      if (status != 0) {
        keeps_alive = false;
        co_return 0;
      }
      if (n > 0) co_return n;
    }
    co_return 0;
  }

  asio::awaitable<bool> run_handler() {
    {
      const std::lock_guard lock(server.mutex);
      ++server.n_handlers;
    }
    asio::steady_timer finished(server.io, Clock::time_point::max());
    bool is_finished = false;
    std::thread([this, &finished, &is_finished] {
      HttpServer::Impl& owner = server;
      handle();
      // Everything of this connection may go away as soon as this runs.
      asio::post(owner.io, [&finished, &is_finished] {
        is_finished = true;
        finished.cancel();
      });
      const std::lock_guard lock(owner.mutex);
      --owner.n_handlers;
      owner.idle.notify_all();
    }).detach();
    using namespace asio::experimental::awaitable_operators;
    co_await (wait_for(finished, is_finished) || watch());
    co_return keeps_alive && !is_gone;
  }

  asio::awaitable<void> wait_for(asio::steady_timer& timer, const bool& is_finished) {
    while (!is_finished) co_await timer.async_wait(kAsTuple);
  }

  // Notices that the client has closed while its request is being worked on. Never returns by itself.
  asio::awaitable<void> watch() {
    if (!route.reads_body_itself) {
      const auto [error] = co_await stream.socket().async_wait(tcp::socket::wait_read, kAsTuple);
      if (error == asio::error::operation_aborted) co_return;
      char byte;
      const ssize_t n = ::recv(stream.socket().native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
      const bool is_pipelined = n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
      if (error || !is_pipelined) is_gone = true;
    }
    asio::steady_timer forever(server.io, Clock::time_point::max());
    co_await forever.async_wait(kAsTuple);
  }

  // On the handler's thread: one of the three places where errors are caught.
  void handle() {
    Exchange exchange(*this);
    int status = 500;
    std::string text;
    try {
      route.handler(exchange);
      if (has_begun && is_chunked) blocking(send_raw("0\r\n\r\n"));
      return;
    } catch (const ApiError& error) {
      status = error.status();
      text = error.what();
    } catch (const JsonError& error) {
      status = 400;
      text = error.what();
    } catch (const std::exception& error) {
      text = error.what();
    }
    if (has_begun) {
      exchange.write(error_text(route, status, text, true));
      if (is_chunked) blocking(send_raw("0\r\n\r\n"));
    } else {
      if (route.reads_body_itself && !parser->is_done()) keeps_alive = false;
      exchange.send(status, kJson, error_text(route, status, text, false));
    }
  }

  // Runs a coroutine on the io thread and waits for it, from the handler's thread.
  template <class T>
  T blocking(asio::awaitable<T> work) {
    return asio::co_spawn(server.io, std::move(work), asio::use_future).get();
  }

  asio::awaitable<bool> send_raw(std::string bytes) {
    if (is_gone || server.is_stopping) co_return false;
    stream.expires_after(milliseconds(server.options.write_timeout_ms));
    const auto [error, n] = co_await asio::async_write(stream, asio::buffer(bytes), kAsTuple);
    if (error) is_gone = true;
    co_return !error;
  }

  std::string head_of(int status, std::string_view type) {
    status_sent = status;
    if (server.is_refusing) keeps_alive = false;
    std::string head = fmt::format("HTTP/1.1 {} {}\r\nX-Request-Id: {}\r\n", status, reason_of(status), request.id);
    if (status == 503) head += "Retry-After: 1\r\n";
    if (!type.empty()) head += fmt::format("Content-Type: {}\r\n", type);
    if (!keeps_alive) head += "Connection: close\r\n";
    else if (is_http10) head += "Connection: keep-alive\r\n";
    return head + cors + added;
  }

  asio::awaitable<bool> send(int status, std::string_view type, std::string_view body) {
    std::string bytes = head_of(status, type);
    if (status != 204 && status != 304) bytes += fmt::format("Content-Length: {}\r\n", body.size());
    bytes += "\r\n";
    if (request.method != "HEAD") bytes += body;
    return send_raw(std::move(bytes));
  }
};

const HttpRequest& Exchange::request() const { return impl_.request; }

size_t Exchange::read_body(std::span<char> out) {
  int status = 0;
  const size_t n = impl_.blocking(impl_.read_some(out, status));
  if (status != 0) throw ApiError(status, std::string(reason_of(status)));
  return n;
}

void Exchange::send(int status, std::string_view content_type, std::string_view body) {
  impl_.has_begun = false;
  impl_.blocking(impl_.send(status, content_type, body));
}

void Exchange::add_header(std::string_view name, std::string_view value) {
  impl_.added += fmt::format("{}: {}\r\n", name, value);
}

void Exchange::begin_stream(std::string_view content_type) {
  impl_.is_chunked = !impl_.is_http10;
  if (!impl_.is_chunked) impl_.keeps_alive = false;
  impl_.has_begun = true;
  impl_.blocking(impl_.send_raw(impl_.head_of(200, content_type) +
                                (impl_.is_chunked ? "Transfer-Encoding: chunked\r\n\r\n" : "\r\n")));
}

bool Exchange::write(std::string_view chunk) {
  if (is_gone()) return false;
  if (!impl_.is_chunked) return impl_.blocking(impl_.send_raw(std::string(chunk)));
  return impl_.blocking(impl_.send_raw(fmt::format("{:x}\r\n{}\r\n", chunk.size(), chunk)));
}

bool Exchange::has_begun() const { return impl_.has_begun; }
bool Exchange::is_gone() const { return impl_.is_gone || impl_.server.is_stopping; }

asio::awaitable<void> HttpServer::Impl::serve(tcp::socket socket) {
  boost::system::error_code ignored;
  const std::string address = socket.remote_endpoint(ignored).address().to_string();
  socket.set_option(tcp::no_delay(true), ignored);
  Exchange::Impl session(*this, std::move(socket));
  int& n_here = ++n_by_address[address];
  sessions.insert(&session);
  try {
    if (n_here > options.max_connections_per_address || static_cast<int>(sessions.size()) > options.max_connections) {
      session.keeps_alive = false;
      session.request.id = fmt::format("{:016x}", random_ids());
      session.head_start = Clock::now();
      const std::string body = error_text({}, 503, "too many connections", false);
      co_await session.send(503, kJson, body);
      session.report();
    } else {
      co_await session.run();
    }
  } catch (const std::exception&) {  // the connection broke: nobody is left to tell
  }
  sessions.erase(&session);
  if (--n_by_address[address] == 0) n_by_address.erase(address);
}

asio::awaitable<void> HttpServer::Impl::accept_all() {
  while (!is_stopping) {
    auto [error, socket] = co_await acceptor.async_accept(kAsTuple);
    if (error == asio::error::operation_aborted || is_stopping) co_return;
    if (error) {  // out of descriptors: those in use will come back
      asio::steady_timer pause(io, milliseconds(50));
      co_await pause.async_wait(kAsTuple);
      continue;
    }
    asio::co_spawn(io, serve(std::move(socket)), asio::detached);
  }
}

HttpServer::HttpServer(HttpOptions options, FindRoute find_route) : impl_(std::make_unique<Impl>()) {
  Impl& impl = *impl_;
  impl.options = std::move(options);
  impl.find_route = std::move(find_route);
  const std::string& host = impl.options.host;
  const std::string port = std::to_string(impl.options.port);
  try {
    tcp::endpoint endpoint(tcp::v6(), impl.options.port);  // all interfaces
    if (!host.empty()) endpoint = tcp::resolver(impl.io).resolve(host, port, tcp::resolver::passive)->endpoint();
    impl.is_loopback = endpoint.address().is_loopback();
    impl.acceptor.open(endpoint.protocol());
    impl.acceptor.set_option(tcp::acceptor::reuse_address(true));
    impl.acceptor.bind(endpoint);
    impl.acceptor.listen();
  } catch (const boost::system::system_error& error) {
    const bool is_taken = error.code() == asio::error::address_in_use;
    throw std::runtime_error(fmt::format("listen tcp {}:{}: {}", host, port,
                                         is_taken ? "bind: address already in use" : error.code().message()));
  }
  asio::co_spawn(impl.io, impl.accept_all(), asio::detached);
  impl.thread = std::thread([&impl] { impl.io.run(); });
}

HttpServer::~HttpServer() { stop(); }

uint16_t HttpServer::port() const { return impl_->acceptor.local_endpoint().port(); }

void HttpServer::refuse_new() { impl_->is_refusing = true; }

int HttpServer::n_working() const {
  const std::lock_guard lock(impl_->mutex);
  return impl_->n_handlers;
}

void HttpServer::stop() {
  Impl& impl = *impl_;
  if (!impl.thread.joinable()) return;
  impl.is_stopping = true;
  // Until every handler is back the io thread must run: their last writes pass through it.
  auto keeps_running = asio::make_work_guard(impl.io);
  asio::post(impl.io, [&impl] {
    boost::system::error_code ignored;
    impl.acceptor.cancel(ignored);
    for (Exchange::Impl* session : impl.sessions) session->stream.socket().shutdown(tcp::socket::shutdown_both, ignored);
  });
  std::unique_lock lock(impl.mutex);
  impl.idle.wait(lock, [&] { return impl.n_handlers == 0; });
  lock.unlock();
  keeps_running.reset();
  impl.io.stop();
  impl.thread.join();
}

}  // namespace olx::server
