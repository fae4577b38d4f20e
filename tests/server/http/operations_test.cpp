// What an operator sees and sets: request ids, reports of answers, API keys, the end of a server.
#include <chrono>
#include <mutex>
#include <thread>

#include "server/http/http_server.h"
#include "tests/support/catch.h"
#include "tests/support/http_client.h"

using namespace olx::server;
using namespace olx::tests;

namespace {

struct Report {
  std::string method, path, route, id;
  int status;
};

// Holds a handler until the test lets it go.
struct Gate {
  std::atomic<bool> is_inside{false}, is_open{false};
  void pass() {
    is_inside = true;
    while (!is_open) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  void wait_inside() const {
    while (!is_inside) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
};

struct Operated {
  std::mutex mutex;
  std::vector<Report> reports;
  Gate gate;
  HttpServer server;

  explicit Operated(HttpOptions options = {})
      : server(
            [&] {
              options.on_answered = [this](const AnsweredRequest& answered) {
                const std::lock_guard lock(mutex);
                reports.push_back({answered.request.method, answered.request.path, std::string(answered.route), answered.request.id,
                                   answered.status});
              };
              return options;
            }(),
            [this](std::string_view method, std::string_view path) {
              Route route;
              route.max_body_bytes = 100;
              if (path == "/" || path == "/known") {
                route.name = "/known";
                route.is_open = path == "/" && method != "POST";
                route.handler = [](Exchange& exchange) { exchange.send(200, "text/plain", "hello"); };
              } else if (path == "/gate") {
                route.name = "/gate";
                route.handler = [this](Exchange& exchange) {
                  exchange.begin_stream("application/x-ndjson");
                  exchange.write("begin\n");
                  gate.pass();
                  exchange.write(exchange.is_gone() ? "gone\n" : "end\n");
                };
              } else {
                route.status = 404;
                route.text = "404 page not found";
              }
              return route;
            }) {}

  // The report of the n-th answer; it comes a little after the answer.
  Report report(size_t n) {
    for (int i = 0; i < 2000; ++i) {
      {
        const std::lock_guard lock(mutex);
        if (reports.size() > n) return reports[n];
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return {};
  }
};

std::string id_of(const HttpAnswer& answer) {
  const std::string name = "X-Request-Id: ";
  const size_t at = answer.head.find(name);
  if (at == std::string::npos) return "";
  return answer.head.substr(at + name.size(), answer.head.find("\r\n", at) - at - name.size());
}

HttpAnswer get(const HttpServer& server, const std::string& path, const std::string& headers) {
  HttpConnection connection(server.port());
  connection.send("GET " + path + " HTTP/1.1\r\nHost: localhost\r\n" + headers + "\r\n");
  return connection.read();
}

}  // namespace

TEST_CASE("HttpServer_GivesEveryAnswerAnId") {
  Operated operated;
  const HttpServer& server = operated.server;
  const std::string first = id_of(get(server, "/known", "")), second = id_of(get(server, "/known", ""));
  CHECK(first.size() == 16);
  CHECK(first != second);
  CHECK(id_of(get(server, "/absent", "")).size() == 16);
  CHECK(id_of(get(server, "/known", "X-Request-Id: client-7.a_b\r\n")) == "client-7.a_b");
  const std::string longest(64, 'a');
  CHECK(id_of(get(server, "/known", "X-Request-Id: " + longest + "\r\n")) == longest);
  CHECK(id_of(get(server, "/known", "X-Request-Id: " + longest + "a\r\n")).size() == 16);
  CHECK(id_of(get(server, "/known", "X-Request-Id: a b\r\n")) != "a b");
  CHECK(id_of(get(server, "/known", "X-Request-Id: \"x\"\r\n")).size() == 16);
  HttpConnection broken(server.port());
  broken.send("rubbish\r\n\r\n");
  const HttpAnswer refused = broken.read();
  CHECK(refused.status == 400);
  CHECK(id_of(refused).size() == 16);
}

TEST_CASE("HttpServer_ReportsWhatItAnswered") {
  Operated operated;
  get(operated.server, "/known?secret=1", "X-Request-Id: abc\r\n");
  const Report known = operated.report(0);
  CHECK(known.method == "GET");
  CHECK(known.path == "/known");
  CHECK(known.route == "/known");
  CHECK(known.id == "abc");
  CHECK(known.status == 200);
  get(operated.server, "/made/up", "");
  const Report absent = operated.report(1);
  CHECK(absent.path == "/made/up");
  CHECK(absent.route.empty());
  CHECK(absent.status == 404);
  // Two requests on one connection are two reports.
  HttpConnection connection(operated.server.port());
  for (size_t n : {2, 3}) {
    connection.send("GET /known HTTP/1.1\r\nHost: localhost\r\n\r\n");
    connection.read();
    CHECK(operated.report(n).status == 200);
  }
}

TEST_CASE("ApiKeys_AdmitOnlyTheKeys", "[T-53]") {
  const ApiKeys keys(" one-key , second,");
  CHECK(keys.are_required());
  CHECK(keys.admit("Bearer one-key", ""));
  CHECK(keys.admit("bearer  second", ""));
  CHECK(keys.admit("", "second"));
  for (const char* wrong : {"", "Bearer", "Bearer ", "Bearer one-ke", "Bearer one-key1", "Bearer one-kez", "one-key", "Basic one-key",
                            "Bearer one-keyone-key", "Bearer  one-key , second"})
    CHECK_FALSE(keys.admit(wrong, ""));
  CHECK_FALSE(keys.admit("", ""));
  CHECK_FALSE(keys.admit("", "secondsecond"));
  CHECK_FALSE(keys.admit("Bearer wrong", "second"));
  CHECK_FALSE(ApiKeys().are_required());
  CHECK_FALSE(ApiKeys("").are_required());
  CHECK_THROWS_AS(ApiKeys(" , "), std::runtime_error);
}

TEST_CASE("HttpServer_AsksForAKey", "[T-52]") {
  HttpOptions options;
  options.keys = ApiKeys("sesame");
  Operated operated(options);
  const HttpServer& server = operated.server;
  const HttpAnswer refused = get(server, "/known", "");
  CHECK(refused.status == 401);
  CHECK(refused.body == "{\"error\":\"unauthorized: a valid API key is required\"}");
  CHECK(refused.head.find("WWW-Authenticate: Bearer") != std::string::npos);
  CHECK(get(server, "/absent", "").status == 401);  // nor does it say what is there
  CHECK(get(server, "/known", "Authorization: Bearer sesame\r\n").status == 200);
  CHECK(get(server, "/known", "x-api-key: sesame\r\n").status == 200);
  CHECK(get(server, "/known", "Authorization: Bearer sesam\r\n").status == 401);
  CHECK(get(server, "/", "").status == 200);
  CHECK(get(server, "/?x", "").status == 200);
  CHECK(http(server.port(), "HEAD", "/").status == 200);
  CHECK(http(server.port(), "POST", "/").status == 401);
}

TEST_CASE("HttpServer_RefusesNewRequestsWhileOldOnesEnd") {
  Operated operated;
  HttpConnection waiting(operated.server.port()), idle(operated.server.port());
  idle.send("GET /known HTTP/1.1\r\nHost: localhost\r\n\r\n");
  CHECK(idle.read().status == 200);
  waiting.send("GET /gate HTTP/1.1\r\nHost: localhost\r\n\r\n");
  operated.gate.wait_inside();
  operated.server.refuse_new();
  const HttpAnswer refused = get(operated.server, "/known", "");
  CHECK(refused.status == 503);
  CHECK(refused.body == "{\"error\":\"the server is stopping\"}");
  CHECK(refused.head.find("Connection: close") != std::string::npos);
  idle.send("GET /known HTTP/1.1\r\nHost: localhost\r\n\r\n");  // a connection from before
  CHECK(idle.read().status == 503);
  CHECK(operated.server.n_working() == 1);
  operated.gate.is_open = true;
  CHECK(waiting.read().body == "begin\nend\n");
  for (int i = 0; i < 2000 && operated.server.n_working() > 0; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  CHECK(operated.server.n_working() == 0);
}

TEST_CASE("HttpServer_LimitsConnectionsOfAnAddress") {
  HttpOptions options;
  options.max_connections_per_address = 2;
  Operated operated(options);
  HttpConnection first(operated.server.port()), second(operated.server.port());
  for (HttpConnection* connection : {&first, &second}) {
    connection->send("GET /known HTTP/1.1\r\nHost: localhost\r\n\r\n");
    CHECK(connection->read().status == 200);
  }
  HttpConnection third(operated.server.port());
  const HttpAnswer refused = third.read();
  CHECK(refused.status == 503);
  CHECK(refused.head.find("Retry-After: 1") != std::string::npos);
  CHECK(id_of(refused).size() == 16);
}
