#include "server/ops/metrics.h"

#include <algorithm>
#include <set>
#include <sstream>
#include <thread>

#include "tests/support/catch.h"

using namespace olx::server;

namespace {

bool has_line(const std::string& text, const std::string& line) { return ("\n" + text).find("\n" + line + "\n") != std::string::npos; }

MetricsSnapshot busy() {
  MetricsSnapshot now;
  now.version = "1.2.3";
  now.n_waiting = 4;
  now.n_running = 2;
  now.models.push_back({"tiny:latest", 1000, 3, 8, 2, 4, 5, 7, 900, 1});
  return now;
}

}  // namespace

TEST_CASE("Metrics_ShowCountersByRouteAndStatus") {
  Metrics metrics;
  metrics.count_request("POST", "/api/chat", 200, 0.02);
  metrics.count_request("POST", "/api/chat", 200, 0.2);
  metrics.count_request("POST", "/api/chat", 404, 0.2);
  metrics.count_tokens(10, 3);
  metrics.count_tokens(1, 1);
  metrics.count_drafts(4, 3);
  metrics.count_drafts(3, 2);
  const std::string text = metrics.text(busy());
  CHECK(has_line(text, "ollamax_http_requests_total{route=\"/api/chat\",method=\"POST\",status=\"200\"} 2"));
  CHECK(has_line(text, "ollamax_http_requests_total{route=\"/api/chat\",method=\"POST\",status=\"404\"} 1"));
  CHECK(has_line(text, "ollamax_prompt_tokens_total 11"));
  CHECK(has_line(text, "ollamax_generated_tokens_total 4"));
  CHECK(has_line(text, "ollamax_drafted_tokens_total 7"));
  CHECK(has_line(text, "ollamax_accepted_tokens_total 5"));
  CHECK(has_line(text, "ollamax_queue_depth 4"));
  CHECK(has_line(text, "ollamax_loaded_models 1"));
  CHECK(has_line(text, "ollamax_model_memory_bytes{model=\"tiny:latest\"} 1000"));
  CHECK(has_line(text, "ollamax_kv_pages_used{model=\"tiny:latest\"} 3"));
  CHECK(has_line(text, "ollamax_kv_pages_total{model=\"tiny:latest\"} 8"));
  CHECK(has_line(text, "ollamax_kv_pages_cached{model=\"tiny:latest\"} 5"));
  CHECK(has_line(text, "# TYPE ollamax_kv_pages_cached gauge"));
  CHECK(has_line(text, "ollamax_prefix_hits_total{model=\"tiny:latest\"} 7"));
  CHECK(has_line(text, "# TYPE ollamax_prefix_hits_total counter"));
  CHECK(has_line(text, "ollamax_prefix_tokens_total{model=\"tiny:latest\"} 900"));
  CHECK(has_line(text, "ollamax_prefix_evictions_total{model=\"tiny:latest\"} 1"));
  CHECK(has_line(text, "ollamax_build_info{version=\"1.2.3\"} 1"));
}

TEST_CASE("Metrics_BucketsAreCumulativeAndHoldTheirLimit") {
  Metrics metrics;
  metrics.add_first_token(0.001);  // on a limit: belongs to it
  metrics.add_first_token(0.002);
  metrics.add_first_token(1000);
  const std::string text = metrics.text({});
  CHECK(has_line(text, "ollamax_time_to_first_token_seconds_bucket{le=\"0.001\"} 1"));
  CHECK(has_line(text, "ollamax_time_to_first_token_seconds_bucket{le=\"0.0025\"} 2"));
  CHECK(has_line(text, "ollamax_time_to_first_token_seconds_bucket{le=\"60\"} 2"));
  CHECK(has_line(text, "ollamax_time_to_first_token_seconds_bucket{le=\"+Inf\"} 3"));
  CHECK(has_line(text, "ollamax_time_to_first_token_seconds_count 3"));
  CHECK(has_line(text, "ollamax_inter_token_seconds_count 0"));
}

// The rules of the exposition format: HELP and TYPE once and before the samples of a name; every line ends; names in order.
TEST_CASE("Metrics_TextKeepsTheFormat") {
  Metrics metrics;
  metrics.count_request("GET", "/", 200, 0.1);
  MetricsSnapshot now = busy();
  now.models[0].name = "a\"b\\c\nd";
  const std::string text = metrics.text(now);
  CHECK(text.ends_with('\n'));
  CHECK(text.find("{model=\"a\\\"b\\\\c\\nd\"}") != std::string::npos);
  std::set<std::string> families;
  std::string family;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("# HELP ")) {
      family = line.substr(7, line.find(' ', 7) - 7);
      CHECK(families.insert(family).second);
    } else if (line.starts_with("# TYPE ")) {
      CHECK(line.substr(7, family.size() + 1) == family + " ");
    } else {
      CHECK(line.starts_with(family));
      CHECK(line.find(' ') != std::string::npos);
    }
  }
  CHECK(families.size() == 21);
}

TEST_CASE("Metrics_CountFromManyThreads") {
  Metrics metrics;
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 4; ++i)
      threads.emplace_back([&] {
        for (int n = 0; n < 500; ++n) {
          metrics.count_request("GET", "/", 200, 0);
          metrics.add_token_gap(0.01);
        }
      });
  }
  const std::string text = metrics.text({});
  CHECK(has_line(text, "ollamax_http_requests_total{route=\"/\",method=\"GET\",status=\"200\"} 2000"));
  CHECK(has_line(text, "ollamax_inter_token_seconds_count 2000"));
}
