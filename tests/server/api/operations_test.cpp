// What an operator sees of the whole server: counters, its queue, its keys, its end.
#include <atomic>
#include <chrono>
#include <thread>

#include "tests/server/api/server_fixture.h"
#include "tests/support/catch.h"

using namespace olx;
using namespace olx::tests;
namespace json = boost::json;

namespace {

// The value of a line of /metrics; -1: there is none.
double metric(ServerFixture& fixture, const std::string& name) {
  const std::string text = "\n" + fixture.get("/metrics").body;
  const size_t at = text.find("\n" + name + " ");
  return at == std::string::npos ? -1 : std::stod(text.substr(at + name.size() + 2));
}

template <class Condition>
bool comes_true(const Condition& condition) {
  for (int i = 0; i < 1000; ++i) {
    if (condition()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return false;
}

std::string long_request() {
  const std::string body = R"({"model":"m","prompt":"Hello","options":{"num_predict":600,"stop":[]}})";
  return "POST /api/generate HTTP/1.1\r\nHost: localhost\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

constexpr const char* kShort = R"({"model":"m","prompt":"x y z","stream":false,"options":{"num_predict":3,"stop":[]}})";

}  // namespace

TEST_CASE("Metrics_CountRequestsTokensAndTimes") {
  ServerFixture fixture;
  CHECK(fixture.get("/metrics").has_header("text/plain; version=0.0.4"));
  REQUIRE(fixture.create_tiny("m").status == 200);
  CHECK(metric(fixture, "ollamax_loaded_models") == 0);
  const json::object answer = object_in(fixture.post("/api/generate", kShort));
  CHECK(fixture.post("/api/generate", R"({"model":"absent"})").status == 404);
  CHECK(fixture.get("/wp-login.php").status == 404);
  const auto n_generated = static_cast<double>(answer.at("eval_count").as_int64());
  CHECK(metric(fixture, "ollamax_generated_tokens_total") == n_generated);
  CHECK(metric(fixture, "ollamax_prompt_tokens_total") == static_cast<double>(answer.at("prompt_eval_count").as_int64()));
  CHECK(metric(fixture, "ollamax_time_to_first_token_seconds_count") == 1);
  CHECK(metric(fixture, "ollamax_loaded_models") == 1);
  CHECK(metric(fixture, "ollamax_queue_depth") == 0);
  CHECK(metric(fixture, "ollamax_model_memory_bytes{model=\"m:latest\"}") > 0);
  CHECK(metric(fixture, "ollamax_kv_pages_total{model=\"m:latest\"}") > 0);
  // The answer is sent before the engine says where it stands.
  CHECK(comes_true([&] { return metric(fixture, "ollamax_kv_pages_used{model=\"m:latest\"}") == 0; }));
  CHECK(metric(fixture, "ollamax_kv_pages_cached{model=\"m:latest\"}") > 0);
  CHECK(fixture.post("/api/generate", kShort).status == 200);  // its prompt is known
  const auto n_known = static_cast<double>(answer.at("prompt_eval_count").as_int64() - 1);
  REQUIRE(n_known > 0);
  CHECK(comes_true([&] { return metric(fixture, "ollamax_prefix_tokens_total{model=\"m:latest\"}") == n_known; }));
  CHECK(comes_true([&] { return metric(fixture, "ollamax_prefix_hits_total{model=\"m:latest\"}") == 1; }));
  const auto counted = [&](const std::string& labels, double expected) {
    return comes_true([&] { return metric(fixture, "ollamax_http_requests_total{" + labels + "}") == expected; });
  };
  CHECK(counted("route=\"/api/generate\",method=\"POST\",status=\"200\"", 2));
  CHECK(counted("route=\"/api/generate\",method=\"POST\",status=\"404\"", 1));
  CHECK(counted("route=\"other\",method=\"other\",status=\"404\"", 1));
}

TEST_CASE("Queue_RefusesOnlyGenerationsThatWouldWait", "[T-88]") {
  ServerFixture fixture(1, 64, [](server::ServerOptions& options) { options.max_queue = 1; });
  REQUIRE(fixture.create_tiny("m").status == 200);
  const auto is_at = [&](int n_running, int n_waiting) {
    return comes_true([&] {
      return metric(fixture, "ollamax_requests_running") == n_running && metric(fixture, "ollamax_queue_depth") == n_waiting;
    });
  };
  // An answer may end early by chance of its tokens: then the state asked for never comes, and it is tried again.
  bool is_refused = false;
  for (int tries = 0; tries < 20 && !is_refused; ++tries) {
    HttpConnection running(fixture.port()), waiting(fixture.port());
    running.send(long_request());
    running.peek_some();
    waiting.send(long_request());
    if (!comes_true([&] { return metric(fixture, "ollamax_queue_depth") == 1; })) continue;
    const HttpAnswer refused = fixture.post("/api/generate", kShort);
    if (refused.status == 200) continue;
    is_refused = true;
    CHECK(refused.status == 503);
    CHECK(refused.body == "{\"error\":\"server busy, please try again.  maximum pending requests exceeded\"}");
    CHECK(refused.has_header("Retry-After: 1"));
    CHECK(fixture.get("/api/tags").status == 200);  // what needs no model is not refused
    CHECK(fixture.get("/api/ps").status == 200);
  }
  CHECK(is_refused);
  CHECK(is_at(0, 0));  // the clients have left
  CHECK(fixture.post("/api/generate", kShort).status == 200);
}

TEST_CASE("Server_EndsRunningAnswersBeforeItStops", "[T-93]") {
  ServerFixture fixture;
  REQUIRE(fixture.create_tiny("m").status == 200);
  HttpConnection running(fixture.port());
  running.send(long_request());
  running.peek_some();
  std::atomic<bool> has_refused{false};
  fixture.server().stop_gently([&] {
    if (!has_refused) has_refused = fixture.get("/api/tags").status == 503;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    return false;
  });
  const HttpAnswer answer = running.read();
  const auto records = lines_in(answer);
  REQUIRE_FALSE(records.empty());
  CHECK(records.back().at("done") == true);
}

TEST_CASE("Server_StopsAtOnceWhenAskedTwiceOrLate", "[T-93]") {
  for (const bool is_late : {false, true}) {
    ServerFixture fixture(1, 64, [&](server::ServerOptions& options) { options.stop_grace_ms = is_late ? 0 : 60'000; });
    REQUIRE(fixture.create_tiny("m").status == 200);
    HttpConnection running(fixture.port());
    running.send(long_request());
    running.peek_some();
    const auto start = std::chrono::steady_clock::now();
    fixture.server().stop_gently([] { return true; });
    CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(20));
  }
}

TEST_CASE("Server_OpensOnlyToItsKeys", "[T-52]") {
  ServerFixture fixture(1, 64, [](server::ServerOptions& options) { options.api_keys = "k1,k2"; });
  CHECK(fixture.get("/").status == 200);
  for (const char* path : {"/api/tags", "/metrics", "/v1/models"}) CHECK(fixture.get(path).status == 401);
  HttpConnection connection(fixture.port());
  connection.send("GET /api/tags HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer k2\r\n\r\n");
  CHECK(connection.read().status == 200);
}
