#pragma once
// Metrics: the server's counters and their Prometheus text. One per server, passed by reference; any thread may count.
// Used by server.cpp, api/ and the tests. What is true right now (queue, loaded models) is handed in when the text is made.

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

namespace olx::server {

// Seconds, counted into buckets by upper limit.
class Histogram {
 public:
  static constexpr std::array<double, 15> kLimits = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25,
                                                     0.5,   1,      2.5,   5,    10,    30,   60};
  void add(double seconds);
  void print(std::string& out, std::string_view name) const;

 private:
  std::array<uint64_t, kLimits.size() + 1> counts_ = {};  // the last: above every limit
  double sum_ = 0;
};

// The state at the moment of asking.
struct MetricsSnapshot {
  struct Model {
    std::string name;
    uint64_t memory_bytes = 0;
    uint64_t n_kv_pages_used = 0, n_kv_pages = 0;
    uint64_t n_running = 0, n_waiting = 0;
    uint64_t n_kv_pages_cached = 0;  // by remembered prefixes alone: room for whoever needs it
    uint64_t n_prefix_hits = 0, n_prefix_tokens = 0, n_prefix_evictions = 0;  // since it was loaded
  };
  std::string version;
  uint64_t n_waiting = 0;     // generation requests that no engine works on yet
  uint64_t n_running = 0;     // generation requests that have a model's sequence
  std::vector<Model> models;  // loaded
};

class Metrics {
 public:
  // route: the row of the table ("/api/blobs/:digest"), never the path a client made up: that would be without limit.
  void count_request(std::string_view method, std::string_view route, int status, double seconds);
  void count_tokens(int64_t n_prompt, int64_t n_generated);
  void count_drafts(int64_t n_drafted, int64_t n_accepted);
  void add_first_token(double seconds);
  void add_token_gap(double seconds);

  // Text format 0.0.4.
  std::string text(const MetricsSnapshot& now) const;

 private:
  mutable std::mutex mutex_;
  std::map<std::tuple<std::string, std::string, int>, uint64_t> requests_;  // route, method, status
  uint64_t n_prompt_ = 0, n_generated_ = 0, n_drafted_ = 0, n_accepted_ = 0;
  Histogram request_seconds_, first_token_seconds_, token_gap_seconds_;
};

}  // namespace olx::server
