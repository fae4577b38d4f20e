#include "server/http/http_server.h"

#include <atomic>
#include <chrono>
#include <thread>

#include "server/http/api_error.h"
#include "tests/support/catch.h"
#include "tests/support/http_client.h"

using namespace olx::server;
using namespace olx::tests;

namespace {

std::atomic<bool> has_seen_client_leave{false};

void echo(Exchange& exchange) { exchange.send(200, "text/plain", exchange.request().body); }
void count_upload(Exchange& exchange) {
  std::vector<char> piece(1000);
  size_t total = 0;
  while (const size_t n = exchange.read_body(piece)) total += n;
  exchange.send(201, "text/plain", std::to_string(total));
}
void stream_three(Exchange& exchange) {
  exchange.begin_stream("application/x-ndjson");
  for (const char* line : {"{\"n\":1}\n", "{\"n\":2}\n", "{\"n\":3}\n"}) exchange.write(line);
}
void fail_late(Exchange& exchange) {
  exchange.begin_stream("application/x-ndjson");
  exchange.write("{}\n");
  throw std::runtime_error("broke");
}
void wait_for_leave(Exchange& exchange) {
  exchange.begin_stream("application/x-ndjson");
  exchange.write("{}\n");
  for (int i = 0; i < 1000 && !exchange.is_gone(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  has_seen_client_leave = exchange.is_gone();
}

Route routes(std::string_view method, std::string_view path) {
  if (path == "/echo") return {200, "", 1000, false, echo};
  if (path == "/upload") return {200, "", 5'000'000, true, count_upload};
  if (path == "/stream") return {200, "", 0, false, stream_three};
  if (path == "/late") return {200, "", 0, false, fail_late};
  if (path == "/wait") return {200, "", 0, false, wait_for_leave};
  if (path == "/refuse") return {200, "", 0, false, [](Exchange&) { throw ApiError(404, "model 'x' not found"); }};
  if (method == "PUT") return {405, "405 method not allowed", 0, false, {}};
  return {404, "404 page not found", 0, false, {}};
}

int status_of(HttpServer& server, std::string_view bytes) {
  HttpConnection connection(server.port());
  connection.send(bytes);
  return connection.read().status;
}

}  // namespace

TEST_CASE("HttpServer_AnswersAndKeepsTheConnection") {
  HttpServer server(HttpOptions(), routes);
  HttpConnection connection(server.port());
  for (int i = 0; i < 3; ++i) {
    connection.send("POST /echo?x=1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nhi");
    const HttpAnswer answer = connection.read();
    CHECK(answer.status == 200);
    CHECK(answer.body == "hi");
  }
  connection.send("POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
  CHECK(connection.read().body == "abcde");
  CHECK(http(server.port(), "HEAD", "/echo").head.find("Content-Length: 0") != std::string::npos);
  const HttpAnswer absent = http(server.port(), "GET", "/nothing");
  CHECK(absent.status == 404);
  CHECK(absent.body == "404 page not found");
  CHECK(http(server.port(), "PUT", "/x").status == 405);
  const HttpAnswer refused = http(server.port(), "GET", "/refuse");
  CHECK(refused.status == 404);
  CHECK(refused.body == "{\"error\":\"model 'x' not found\"}");
}

TEST_CASE("HttpServer_StreamsOneLineAChunk") {
  HttpServer server(HttpOptions(), routes);
  const HttpAnswer answer = http(server.port(), "GET", "/stream");
  CHECK(answer.chunks == std::vector<std::string>{"{\"n\":1}\n", "{\"n\":2}\n", "{\"n\":3}\n"});
  const HttpAnswer late = http(server.port(), "GET", "/late");
  CHECK(late.status == 200);
  CHECK(late.body == "{}\n{\"error\":\"broke\"}\n");
  HttpConnection old(server.port());
  old.send("GET /stream HTTP/1.0\r\n\r\n");
  CHECK(old.read().body == "{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n");
}

TEST_CASE("HttpServer_LimitsHoldAtTheLimitAndOneMore", "[T-44]") {
  HttpServer server(HttpOptions(), routes);
  CHECK(http(server.port(), "POST", "/echo", std::string(1000, 'x')).status == 200);
  CHECK(http(server.port(), "POST", "/echo", std::string(1001, 'x')).status == 413);
  CHECK(http(server.port(), "POST", "/upload", std::string(5'000'000, 'x')).body == "5000000");
  CHECK(http(server.port(), "POST", "/upload", std::string(5'000'001, 'x')).status == 413);
  std::string chunked = "POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n";
  CHECK(status_of(server, chunked + std::string(1001, 'x') + "\r\n0\r\n\r\n") == 413);
  const auto with_target = [&](size_t size) {
    return status_of(server, "GET /" + std::string(size - 1, 'a') + " HTTP/1.1\r\nHost: localhost\r\n\r\n");
  };
  CHECK(with_target(kMaxTargetBytes) == 404);
  CHECK(with_target(kMaxTargetBytes + 1) == 414);
  const auto with_headers = [&](size_t n) {
    std::string text = "GET /echo HTTP/1.1\r\nHost: localhost\r\n";
    for (size_t i = 1; i < n; ++i) text += "X: y\r\n";
    return status_of(server, text + "\r\n");
  };
  CHECK(with_headers(kMaxHeaders) == 200);
  CHECK(with_headers(kMaxHeaders + 1) == 431);
  CHECK(status_of(server, "GET /echo HTTP/1.1\r\nHost: localhost\r\nX: " + std::string(20'000, 'x') + "\r\n\r\n") == 431);
}

TEST_CASE("HttpServer_RefusesAmbiguousFraming", "[T-43][T-45]") {
  HttpServer server(HttpOptions(), routes);
  const std::string start = "POST /echo HTTP/1.1\r\nHost: localhost\r\n";
  for (const std::string& rest :
       {std::string("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        std::string("Transfer-Encoding: gzip\r\nContent-Length: 0\r\n\r\n"), std::string("Transfer-Encoding: xchunked\r\n\r\n"),
        std::string("Transfer-Encoding: chunked, identity\r\n\r\n"), std::string("Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
        std::string("Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello"), std::string("Content-Length: 5, 5\r\n\r\nhello"),
        std::string("Content-Length: +5\r\n\r\nhello"), std::string("Content-Length: -1\r\n\r\n"),
        std::string("Content-Length: 99999999999999999999\r\n\r\n"), std::string("Host: other\r\n\r\n"),
        std::string("X : y\r\n\r\n"), std::string("X: a\r\n b\r\nBad\r\n\r\n")}) {
    INFO(rest);
    CHECK(status_of(server, start + rest) == 400);
  }
  CHECK(status_of(server, "POST /echo HTTP/1.1\r\n\r\n") == 400);
  CHECK(status_of(server, "POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n") == 400);
  CHECK(status_of(server, "GET http://evil/ HTTP/1.1\r\nHost: localhost\r\n\r\n") == 400);
  CHECK(status_of(server, "garbage\r\n\r\n") == 400);
  CHECK(status_of(server, std::string("\x16\x03\x01\x02\x00", 5) + "\r\n\r\n") == 400);
}

TEST_CASE("HttpServer_RefusesBodiesThatDoNotKeepToWhatTheySay", "[T-46]") {
  HttpServer server(HttpOptions(), routes);
  const std::string chunked = "POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (const std::string& body : {std::string("8000000000000000\r\nx"), std::string("ffffffffffffffffff\r\nx"), std::string("-1\r\nx"),
                                  std::string("xyz\r\n"), std::string("\r\n"), std::string("2\r\nabcd\r\n0\r\n\r\n")}) {
    INFO(body);
    HttpConnection connection(server.port());
    connection.send(chunked + body);
    const int status = connection.read().status;
    CHECK((status == 400 || status == 413));
    CHECK(connection.rest().empty());  // closed, and nothing of the rest was taken for a request
  }
  // Shorter than it says: the client has ended it.
  HttpConnection cut(server.port());
  cut.send("POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nabc");
  cut.end();
  CHECK(cut.read().status == 400);
}

TEST_CASE("HttpServer_RefusesALargeBodyBeforeItAsksForIt", "[T-47]") {
  HttpServer server(HttpOptions(), routes);
  const auto first = [&](const char* length) {
    return status_of(server, std::string("POST /echo HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: ") + length + "\r\n\r\n");
  };
  CHECK(first("1000") == 100);
  CHECK(first("1001") == 413);
}

TEST_CASE("HttpServer_InflatesNothing", "[T-48]") {
  HttpServer server(HttpOptions(), routes);
  for (const char* encoding : {"gzip", "zstd", "br", "deflate", "gzip, gzip"})
    CHECK(http(server.port(), "POST", "/echo", "x", std::string("Content-Encoding: ") + encoding + "\r\n").status == 415);
  CHECK(http(server.port(), "POST", "/echo", "x", "Content-Encoding: identity\r\n").status == 200);
}

TEST_CASE("HttpServer_AnswersAPipelineInOrder", "[T-50]") {
  HttpServer server(HttpOptions(), routes);
  HttpConnection connection(server.port());
  std::string requests;
  for (int i = 100; i < 400; ++i)
    requests += "POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\n" + std::to_string(i);
  connection.send(requests);
  for (int i = 100; i < 400; ++i) {
    const HttpAnswer answer = connection.read();
    if (answer.status != 200 || answer.body != std::to_string(i)) FAIL("request " << i << ": " << answer.status);
  }
}

TEST_CASE("HttpServer_APreflightDoesNotPassAForbiddenHost", "[T-57]") {
  HttpServer server(HttpOptions(), routes);
  HttpConnection connection(server.port());
  connection.send("OPTIONS /echo HTTP/1.1\r\nHost: evil.example\r\nOrigin: http://localhost\r\nAccess-Control-Request-Method: POST\r\n\r\n");
  const HttpAnswer answer = connection.read();
  CHECK(answer.status == 403);
  CHECK_FALSE(answer.has_header("Access-Control-Allow-Origin"));
}

TEST_CASE("HttpServer_GuardsHostAndOrigin", "[T-41][T-42]") {
  HttpServer server(HttpOptions(), routes);
  const auto host = [&](const std::string& value) {
    return status_of(server, "GET /echo HTTP/1.1\r\nHost: " + value + "\r\n\r\n");
  };
  for (const char* good : {"localhost", "LOCALHOST:11434", "127.0.0.1", "127.0.0.1:80", "[::1]", "[::1]:1", "192.168.1.2",
                           "box.local", "a.internal", "x.localhost"})
    CHECK(host(good) == 200);
  for (const char* bad : {"evil.example", "127.0.0.1.evil", "localhost.evil", "8.8.8.8", "0x7f.1", "evil.example:11434"})
    CHECK(host(bad) == 403);
  for (const char* bad : {"a b", "u@localhost", "local%68ost", "localhost:x", "[::1"}) CHECK(host(bad) == 400);
  const auto origin = [&](const std::string& value, const char* method = "GET") {
    return http(server.port(), method, "/echo", "", "Origin: " + value + "\r\n");
  };
  CHECK(origin("http://localhost:3000").has_header("Access-Control-Allow-Origin: http://localhost:3000\r\nVary: Origin"));
  CHECK(origin("http://localhost").status == 200);
  CHECK(origin("app://obsidian.md").status == 200);
  for (const char* bad : {"https://evil.example", "http://localhost.evil.example", "http://localhost:1.evil.example", "null"})
    CHECK(origin(bad).status == 403);
  const HttpAnswer preflight = origin("http://127.0.0.1:5173", "OPTIONS");
  CHECK(preflight.status == 204);
  CHECK(preflight.has_header("Access-Control-Max-Age: 43200"));
}

TEST_CASE("HostPolicy_KeepsPagesOfAReboundNameOut", "[T-41]") {
  struct Row {
    const char* host;
    bool is_for_browsers, is_for_others, is_listed;  // without a list, without a list and no Origin, with one
  };
  const HostPolicy open, listed("Models.example, other.example"), any("*");
  for (const Row& row : std::initializer_list<Row>{{"192.168.1.2:11434", true, true, true},
                                                   {"8.8.8.8", true, true, true},
                                                   {"[2001:db8::1]:11434", true, true, true},
                                                   {"[::1]", true, true, true},
                                                   {"", true, true, true},
                                                   {"localhost:11434", true, true, true},
                                                   {"LOCALHOST", true, true, true},
                                                   {"ollama", true, true, true},
                                                   {"ollama:11434", true, true, true},
                                                   {"box.local", true, true, true},
                                                   {"x.internal:1", true, true, true},
                                                   {"this.machine.example", true, true, true},
                                                   {"THIS.machine.example:11434", true, true, true},
                                                   {"models.example", false, true, true},
                                                   {"models.EXAMPLE:11434", false, true, true},
                                                   {"models.example.", false, true, true},
                                                   {"other.example:80", false, true, true},
                                                   {"evil.example", false, true, false},
                                                   {"evil.example:11434", false, true, false},
                                                   {"127.0.0.1.evil.example", false, true, false},
                                                   {"192.168.1.2.nip.io", false, true, false},
                                                   {"localhost.evil.example", false, true, false},
                                                   {"x.models.example", false, true, false},
                                                   {"models.example.evil.example", false, true, false},
                                                   {"0x7f.1", false, true, false},
                                                   {"1.2.3", false, true, false},
                                                   {"a b", false, false, false},
                                                   {"u@localhost", false, false, false},
                                                   {"localhost:x", false, false, false},
                                                   {"[::1", false, false, false}}) {
    INFO(row.host);
    CHECK(open.allows(row.host, "this.machine.example", true) == row.is_for_browsers);
    CHECK(open.allows(row.host, "this.machine.example", false) == row.is_for_others);
    for (const bool has_origin : {false, true}) {
      CHECK(listed.allows(row.host, "this.machine.example", has_origin) == row.is_listed);
      CHECK(any.allows(row.host, "this.machine.example", has_origin) == row.is_for_others);
    }
  }
}

TEST_CASE("HttpServer_GuardsHostWhereItListensOnEveryAddress", "[T-41][T-57]") {
  HttpOptions options;
  options.host = "";
  HttpServer server(options, routes);
  const auto status = [&](const char* method, const std::string& host, const std::string& more = "") {
    return status_of(server, std::string(method) + " /echo HTTP/1.1\r\nHost: " + host + "\r\n" + more + "\r\n");
  };
  // A page of a name that was rebound to this machine: to its browser it is of the same origin.
  CHECK(status("GET", "evil.example", "Origin: http://evil.example\r\n") == 403);
  CHECK(status("OPTIONS", "evil.example", "Origin: http://evil.example\r\n") == 403);
  CHECK(status("GET", "evil.example") == 200);
  CHECK(status("GET", "192.168.1.2", "Origin: http://192.168.1.2\r\n") == 200);
  options.hosts = HostPolicy("models.example");
  HttpServer strict(options, routes);
  const auto strictly = [&](const std::string& host) { return status_of(strict, "GET /echo HTTP/1.1\r\nHost: " + host + "\r\n\r\n"); };
  CHECK(strictly("models.example") == 200);
  CHECK(strictly("evil.example") == 403);
  CHECK(strictly("127.0.0.1") == 200);
}

TEST_CASE("HttpServer_NoticesAClientThatLeaves", "[T-85]") {
  HttpServer server(HttpOptions(), routes);
  {
    HttpConnection connection(server.port());
    connection.send("GET /wait HTTP/1.1\r\nHost: localhost\r\n\r\n");
    connection.peek_some();
  }
  for (int i = 0; i < 300 && !has_seen_client_leave; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  CHECK(has_seen_client_leave);
}

TEST_CASE("HttpServer_StopsWhileRequestsRun") {
  HttpServer server(HttpOptions(), routes);
  HttpConnection connection(server.port());
  connection.send("GET /wait HTTP/1.1\r\nHost: localhost\r\n\r\n");
  connection.peek_some();
  const auto start = std::chrono::steady_clock::now();
  server.stop();
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(3));
}

TEST_CASE("HttpServer_EndsASlowHeader", "[T-40]") {
  HttpOptions options;
  options.header_timeout_ms = 200;
  HttpServer server(options, routes);
  HttpConnection connection(server.port());
  connection.send("GET /echo HT");
  CHECK(connection.read().status == 0);  // closed: nobody is there to read a 408
  HttpOptions few;
  few.max_connections_per_address = 1;
  HttpServer small(few, routes);
  HttpConnection first(small.port());
  CHECK(http(small.port(), "GET", "/echo").status == 503);
}
