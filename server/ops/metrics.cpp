#include "server/ops/metrics.h"

#include <fmt/format.h>

#include <algorithm>

namespace olx::server {
namespace {

void head(std::string& out, std::string_view name, std::string_view type, std::string_view help) {
  out += fmt::format("# HELP {} {}\n# TYPE {} {}\n", name, help, name, type);
}

// A label's value; a name is a client's text.
std::string label_value(std::string_view value) {
  std::string out = "\"";
  for (const char c : value) {
    if (c == '\\' || c == '"') out += '\\';
    if (c == '\n') out += "\\n";
    else out += c;
  }
  return out + '"';
}

}  // namespace

void Histogram::add(double seconds) {
  const auto bucket = std::lower_bound(kLimits.begin(), kLimits.end(), seconds);
  ++counts_[static_cast<size_t>(bucket - kLimits.begin())];
  sum_ += seconds;
}

void Histogram::print(std::string& out, std::string_view name) const {
  uint64_t n = 0;
  for (size_t i = 0; i < kLimits.size(); ++i) {
    n += counts_[i];
    out += fmt::format("{}_bucket{{le=\"{}\"}} {}\n", name, kLimits[i], n);
  }
  n += counts_.back();
  out += fmt::format("{}_bucket{{le=\"+Inf\"}} {}\n{}_sum {}\n{}_count {}\n", name, n, name, sum_, name, n);
}

void Metrics::count_request(std::string_view method, std::string_view route, int status, double seconds) {
  const std::lock_guard lock(mutex_);
  ++requests_[{std::string(route), std::string(method), status}];
  request_seconds_.add(seconds);
}

void Metrics::count_tokens(int64_t n_prompt, int64_t n_generated) {
  const std::lock_guard lock(mutex_);
  n_prompt_ += static_cast<uint64_t>(std::max<int64_t>(n_prompt, 0));
  n_generated_ += static_cast<uint64_t>(std::max<int64_t>(n_generated, 0));
}

void Metrics::count_drafts(int64_t n_drafted, int64_t n_accepted) {
  const std::lock_guard lock(mutex_);
  n_drafted_ += static_cast<uint64_t>(std::max<int64_t>(n_drafted, 0));
  n_accepted_ += static_cast<uint64_t>(std::max<int64_t>(n_accepted, 0));
}

void Metrics::add_first_token(double seconds) {
  const std::lock_guard lock(mutex_);
  first_token_seconds_.add(seconds);
}

void Metrics::add_token_gap(double seconds) {
  const std::lock_guard lock(mutex_);
  token_gap_seconds_.add(seconds);
}

std::string Metrics::text(const MetricsSnapshot& now) const {
  std::string out;
  head(out, "ollamax_build_info", "gauge", "The version that answers.");
  out += fmt::format("ollamax_build_info{{version={}}} 1\n", label_value(now.version));
  const auto single = [&](std::string_view name, std::string_view type, std::string_view help, uint64_t value) {
    head(out, name, type, help);
    out += fmt::format("{} {}\n", name, value);
  };
  single("ollamax_requests_running", "gauge", "Generation requests being worked on.", now.n_running);
  single("ollamax_queue_depth", "gauge", "Generation requests waiting for a model or a free place.", now.n_waiting);
  single("ollamax_loaded_models", "gauge", "Models in memory.", now.models.size());
  const auto by_model = [&](std::string_view name, std::string_view help, uint64_t MetricsSnapshot::Model::*value,
                            std::string_view type = "gauge") {
    head(out, name, type, help);
    for (const MetricsSnapshot::Model& model : now.models)
      out += fmt::format("{}{{model={}}} {}\n", name, label_value(model.name), model.*value);
  };
  using Model = MetricsSnapshot::Model;
  by_model("ollamax_model_memory_bytes", "Memory a loaded model holds.", &Model::memory_bytes);
  by_model("ollamax_kv_pages_used", "Pages of the key/value cache that sequences hold.", &Model::n_kv_pages_used);
  by_model("ollamax_kv_pages_total", "Pages of the key/value cache.", &Model::n_kv_pages);
  by_model("ollamax_kv_pages_cached", "Pages that remember prefixes and are free for whoever needs them.",
           &Model::n_kv_pages_cached);
  by_model("ollamax_prefix_hits_total", "Sequences that began with a remembered prefix.", &Model::n_prefix_hits, "counter");
  by_model("ollamax_prefix_tokens_total", "Prompt tokens not evaluated because they were remembered.",
           &Model::n_prefix_tokens, "counter");
  by_model("ollamax_prefix_evictions_total", "Pages that remembered a prefix and were needed for something else.",
           &Model::n_prefix_evictions, "counter");
  by_model("ollamax_model_requests_running", "Sequences a model generates for.", &Model::n_running);
  by_model("ollamax_model_requests_waiting", "Sequences a model has not begun.", &Model::n_waiting);

  const std::lock_guard lock(mutex_);
  head(out, "ollamax_http_requests_total", "counter", "Answered requests.");
  for (const auto& [key, count] : requests_) {
    const auto& [route, method, status] = key;
    out += fmt::format("ollamax_http_requests_total{{route={},method={},status=\"{}\"}} {}\n", label_value(route), label_value(method),
                       status, count);
  }
  single("ollamax_prompt_tokens_total", "counter", "Prompt tokens read.", n_prompt_);
  single("ollamax_generated_tokens_total", "counter", "Tokens generated.", n_generated_);
  single("ollamax_drafted_tokens_total", "counter", "Tokens guessed ahead and verified.", n_drafted_);
  single("ollamax_accepted_tokens_total", "counter", "Tokens guessed ahead that were right.", n_accepted_);
  const auto histogram = [&](std::string_view name, std::string_view help, const Histogram& values) {
    head(out, name, "histogram", help);
    values.print(out, name);
  };
  histogram("ollamax_http_request_seconds", "From the head of a request to the end of its answer.", request_seconds_);
  histogram("ollamax_time_to_first_token_seconds", "From a generation request to its first token, loading included.",
            first_token_seconds_);
  histogram("ollamax_inter_token_seconds", "Between two tokens of an answer.", token_gap_seconds_);
  return out;
}

}  // namespace olx::server
