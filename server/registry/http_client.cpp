#include "server/registry/http_client.h"

#include <algorithm>
#include <boost/beast/http/buffer_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <chrono>
#include <thread>

#include "gguf/ascii.h"
#include "server/registry/connection.h"
#include "server/registry/proxy.h"

namespace olx::server {
namespace {

namespace http = boost::beast::http;
using Clock = std::chrono::steady_clock;
using Kind = NetworkError::Kind;

constexpr size_t kReadBytes = 64 << 10;  // lost with this process while it is not in a file: see kReceiveBuffer
constexpr size_t kSendBytes = 256 << 10;
constexpr uint32_t kMaxHeadBytes = 64 << 10;
constexpr int kMaxInterimReplies = 8;  // 1xx

}  // namespace

const std::string* HttpReply::header(std::string_view name) const {
  for (const auto& [key, value] : headers)
    if (ascii::equal_ignoring_case(key, name)) return &value;
  return nullptr;
}

struct HttpClient::Impl {
  explicit Impl(HttpClientOptions given) : options(std::move(given)) {}

  HttpClientOptions options;
  std::unique_ptr<Connection> connection;
  Url connected_to;
  bool is_proxied = false, was_led = false;
  AddressKind peer = AddressKind::kPublic;
  std::string input;     // read and not yet parsed, from input_begin on
  size_t input_begin = 0;
  std::optional<http::response_parser<http::buffer_body>> parser;
  Clock::time_point window_start;  // of the rate that is watched
  uint64_t window_bytes = 0;

  void drop() {
    connection.reset();
    parser.reset();
    input.clear();
    input_begin = 0;
  }

  void connect(const HttpCall& call) {
    drop();
    const std::optional<Proxy> proxy = proxy_for(call.url);
    const Url& hop = proxy ? proxy->url : call.url;
    const bool is_literal = is_address(call.url.host);
    std::vector<std::string> addresses;
    if (is_literal && !proxy) addresses = {call.url.host};
    else addresses = options.resolve ? options.resolve(hop.host) : resolve_host(hop.host);
    // What was checked is what is connected to: a second lookup could answer something else. Behind a proxy only the
    // proxy looks names up, and only addresses written as such can be judged here.
    const auto is_refused = [&](const std::string& address) {
      const AddressKind kind = address_kind(address);
      return call.led_by ? !may_lead_to(kind, *call.led_by) : kind == AddressKind::kForbidden;
    };
    // A machine of one's own network has link-local addresses beside its real ones; only those are gone to. Who is led somewhere by
    // another's word gets no second choice.
    if (!call.led_by && !proxy && std::any_of(addresses.begin(), addresses.end(), [&](const auto& a) { return !is_refused(a); }))
      std::erase_if(addresses, is_refused);
    const bool is_bad = proxy ? is_literal && is_refused(call.url.host)
                              : std::any_of(addresses.begin(), addresses.end(), is_refused);
    if (is_bad) throw NetworkError(Kind::kFatal, call.url.origin() + (call.led_by ? ": its address must not be reached from a registry's answer" : ": its address is no host's"));
    connection = std::make_unique<Connection>(options, addresses, hop.port);
    is_proxied = proxy && !call.url.is_tls();
    peer = proxy ? AddressKind::kPublic : address_kind(connection->address());
    connected_to = call.url;
    was_led = call.led_by.has_value();
    if (proxy && call.url.is_tls()) open_tunnel(call.url, *proxy);
    if (call.url.is_tls()) connection->start_tls(call.url.host);
  }

  void open_tunnel(const Url& url, const Proxy& proxy) {
    const std::string name = (url.host.find(':') == std::string::npos ? url.host : "[" + url.host + "]") + ":" + std::to_string(url.port);
    std::string head = "CONNECT " + name + " HTTP/1.1\r\nHost: " + name + "\r\n";
    if (!proxy.authorization.empty()) head += "Proxy-Authorization: " + proxy.authorization + "\r\n";
    connection->write(head + "\r\n");
    parser.emplace();
    parser->skip(true);
    const HttpReply reply = read_head();
    parser.reset();
    if (reply.status != 200) throw NetworkError(Kind::kRetry, "the proxy answered " + std::to_string(reply.status) + " to CONNECT", reply.status);
    if (input_begin != input.size()) throw NetworkError(Kind::kFatal, "the proxy sent bytes before the tunnel was open");
  }

  bool fill() {
    if (input_begin > 0) {
      input.erase(0, input_begin);
      input_begin = 0;
    }
    const size_t old_size = input.size();
    input.resize(old_size + kReadBytes);
    size_t n = 0;
    try {
      n = connection->read(std::span(input).subspan(old_size));
    } catch (...) {
      input.resize(old_size);
      throw;
    }
    input.resize(old_size + n);
    return n > 0;
  }

  // One step of the parser over what has been read; fills when it needs more.
  void step(const char* doing) {
    boost::system::error_code error;
    const size_t n = parser->put(boost::asio::buffer(input.data() + input_begin, input.size() - input_begin), error);
    input_begin += n;
    if (error == http::error::need_buffer) return;
    if (error == http::error::need_more || (!error && n == 0 && !parser->is_done())) {
      if (fill()) return;
      boost::system::error_code at_end;
      if (parser->got_some()) parser->put_eof(at_end);
      if (!parser->got_some() || at_end) throw NetworkError(Kind::kRetry, std::string(doing) + ": the server ended the connection early");
      return;
    }
    if (error) throw NetworkError(Kind::kRetry, std::string(doing) + ": the answer is no HTTP: " + error.message());
  }

  HttpReply read_head() {
    parser->header_limit(kMaxHeadBytes);
    parser->body_limit(boost::none);  // the callers count
    // Each read has its time limit, which a byte now and then would never reach.
    std::optional<Clock::time_point> begun;
    while (!parser->is_header_done()) {
      step("read the answer");
      if (!begun && input.size() > input_begin) begun = Clock::now();
      if (begun && Clock::now() - *begun >= std::chrono::milliseconds(options.stall_timeout_ms))
        throw NetworkError(Kind::kRetry, "the head of the answer stalled");
    }
    HttpReply reply;
    const auto& head = parser->get();
    reply.status = static_cast<int>(head.result_int());
    for (const auto& field : head) reply.headers.emplace_back(std::string(field.name_string()), std::string(field.value()));
    if (const auto length = parser->content_length()) reply.content_length = *length;
    window_start = Clock::now();
    window_bytes = 0;
    return reply;
  }

  void send(const HttpCall& call) {
    std::string head = call.method + " " + (is_proxied ? call.url.text() : call.url.target) + " HTTP/1.1\r\nHost: " + call.url.authority() +
                       "\r\nAccept-Encoding: identity\r\n";
    if (is_proxied) {
      const std::optional<Proxy> proxy = proxy_for(call.url);
      if (proxy && !proxy->authorization.empty()) head += "Proxy-Authorization: " + proxy->authorization + "\r\n";
    }
    for (const auto& [name, value] : call.headers) head += name + ": " + value + "\r\n";
    if (call.body != nullptr) head += "Content-Length: " + std::to_string(call.body->size_bytes) + "\r\n";
    else if (call.method != "GET" && call.method != "HEAD") head += "Content-Length: 0\r\n";
    connection->write(head + "\r\n");
    if (call.body == nullptr) return;
    std::string piece(kSendBytes, '\0');
    for (uint64_t sent = 0; sent < call.body->size_bytes;) {
      const size_t wanted = static_cast<size_t>(std::min<uint64_t>(piece.size(), call.body->size_bytes - sent));
      const size_t n = call.body->read(sent, std::span(piece).first(wanted));
      if (n == 0) throw NetworkError(Kind::kFatal, "the file became shorter while it was sent");
      connection->write(std::string_view(piece).substr(0, n));
      sent += n;
    }
  }
};

HttpClient::HttpClient(HttpClientOptions options) : impl_(std::make_unique<Impl>(std::move(options))) {}
HttpClient::~HttpClient() = default;

HttpReply HttpClient::call(const HttpCall& call) {
  Impl& impl = *impl_;
  check_cancelled();
  // A connection made for the registry itself is not one that a redirect may use, and the other way round.
  // A body is never sent over an old one: whether the other side has taken part of it could not be known.
  const bool is_open = call.body == nullptr && impl.connection && impl.parser && impl.parser->is_done() && impl.parser->keep_alive() &&
                       impl.connected_to.has_origin_of(call.url) && impl.was_led == call.led_by.has_value() &&
                       impl.input_begin == impl.input.size();
  for (bool is_reused = is_open;; is_reused = false) {
    if (!is_reused) impl.connect(call);
    impl.parser.emplace();
    impl.parser->skip(call.method == "HEAD");
    try {
      try {
        impl.send(call);
      } catch (const NetworkError& error) {
        // The server may have said why it does not want more.
        if (error.kind() != Kind::kRetry || call.body == nullptr || is_reused) throw;
        impl.connection->end_writing();
      }
      HttpReply reply = impl.read_head();
      for (int n = 0; reply.status >= 100 && reply.status < 200; ++n) {
        if (n == kMaxInterimReplies) throw NetworkError(Kind::kRetry, "the server answers with nothing but interim replies");
        impl.parser.emplace();
        impl.parser->skip(call.method == "HEAD");
        reply = impl.read_head();
      }
      const std::string* encoding = reply.header("Content-Encoding");
      if (encoding != nullptr && !ascii::equal_ignoring_case(*encoding, "identity")) {
        impl.drop();
        throw NetworkError(Kind::kFatal, "the server compressed its answer, which was not asked for");
      }
      return reply;
    } catch (const NetworkError& error) {
      const bool is_stale = is_reused && error.kind() == Kind::kRetry && !(impl.parser && impl.parser->got_some());
      impl.drop();
      if (!is_stale) throw;  // an idle connection that the server had closed: once more, on a new one
    }
  }
}

size_t HttpClient::read(std::span<char> out) {
  Impl& impl = *impl_;
  if (!impl.parser) throw NetworkError(Kind::kRetry, "the connection is closed");
  try {
    while (!impl.parser->is_done()) {
      auto& body = impl.parser->get().body();
      body.data = out.data();
      body.size = out.size();
      body.more = true;
      impl.step("read the body");
      const size_t n = out.size() - body.size;
      if (n == 0) continue;
      impl.window_bytes += n;
      const auto elapsed = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - impl.window_start).count();
      if (elapsed >= impl.options.stall_timeout_ms) {
        if (impl.window_bytes * 1000 < static_cast<uint64_t>(impl.options.min_bytes_per_s) * static_cast<uint64_t>(elapsed))
          throw NetworkError(Kind::kRetry, "the download stalled");
        impl.window_start = Clock::now();
        impl.window_bytes = 0;
      }
      if (impl.options.is_cancelled && impl.options.is_cancelled()) throw NetworkError(Kind::kCancelled, "cancelled");
      return n;
    }
  } catch (const NetworkError&) {
    impl.drop();
    throw;
  }
  return 0;
}

std::string HttpClient::read_all(size_t max_bytes) {
  std::string all;
  std::string piece(64 << 10, '\0');
  while (const size_t n = read(piece)) {
    if (all.size() + n > max_bytes) {
      impl_->drop();
      throw NetworkError(Kind::kFatal, "the answer is longer than " + std::to_string(max_bytes) + " bytes");
    }
    all.append(piece, 0, n);
  }
  return all;
}

void HttpClient::close() { impl_->drop(); }

AddressKind HttpClient::peer_kind() const { return impl_->peer; }

void HttpClient::check_cancelled() const {
  if (impl_->options.is_cancelled && impl_->options.is_cancelled()) throw NetworkError(Kind::kCancelled, "cancelled");
}

void HttpClient::sleep(int ms) const {
  const auto end = Clock::now() + std::chrono::milliseconds(ms);
  while (Clock::now() < end) {
    check_cancelled();
    std::this_thread::sleep_for(std::min<Clock::duration>(std::chrono::milliseconds(50), end - Clock::now()));
  }
}

}  // namespace olx::server
