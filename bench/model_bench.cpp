#include "bench/model_bench.h"

#include <algorithm>
#include <boost/json.hpp>
#include <cmath>
#include <cstdio>
#include <random>
#include <vector>

#include "bench/html_report.h"
#include "bench/machine.h"
#include "bench/roofline.h"
#include "bench/statistics.h"
#include "engine/error.h"
#include "engine/model/model_runner.h"
#include "engine/sample/arg_max.h"
#include "gguf/reader.h"
#include "kernels/cpu/features.h"

namespace olx::bench {
namespace {

using engine::BatchToken;
using engine::ModelRunner;

// FNV-1a over the bits of the logits: the same weights, prompt and kernels give the same number.
uint64_t hash_logits(std::span<const float> logits) {
  uint64_t hash = 1469598103934665603ull;
  for (const auto byte : std::as_bytes(logits)) hash = (hash ^ static_cast<uint64_t>(byte)) * 1099511628211ull;
  return hash;
}

// A fixed walk through the vocabulary, so that runs and machines see the same prompt.
std::vector<int32_t> make_prompt(int n_tokens, int64_t vocab_size) {
  std::mt19937 random(42);
  std::vector<int32_t> tokens;
  for (int i = 0; i < n_tokens; ++i) tokens.push_back(static_cast<int32_t>(random() % static_cast<uint64_t>(vocab_size)));
  return tokens;
}

// Feeds the tokens of a prompt in micro-batches at the end of a sequence; the last one wants logits.
void feed(ModelRunner& runner, int32_t sequence, std::span<const int32_t> tokens) {
  const int64_t start = runner.n_positions(sequence);
  if (!runner.reserve(sequence, start + static_cast<int64_t>(tokens.size())))
    throw engine::EngineError(engine::ErrorCode::kInvalidRequest, "prompt, depth and generation do not fit in the context");
  std::vector<BatchToken> batch;
  for (size_t i = 0; i < tokens.size(); ++i) {
    batch.push_back({tokens[i], sequence, static_cast<int32_t>(start + static_cast<int64_t>(i)), i + 1 == tokens.size(), true});
    if (batch.size() == static_cast<size_t>(runner.options().n_batch) || i + 1 == tokens.size()) {
      runner.forward(batch);
      batch.clear();
    }
  }
}

// One token more for every sequence; last: what each ends with.
void generate_step(ModelRunner& runner, std::vector<int32_t>& last) {
  std::vector<BatchToken> batch;
  for (size_t s = 0; s < last.size(); ++s) {
    const auto sequence = static_cast<int32_t>(s);
    const int64_t position = runner.n_positions(sequence);
    if (!runner.reserve(sequence, position + 1))
      throw engine::EngineError(engine::ErrorCode::kInvalidRequest, "depth and generation do not fit in the context");
    batch.push_back({last[s], sequence, static_cast<int32_t>(position), true, false});
  }
  const bool has_candidates = runner.n_candidates_max() > 0;  // as the scheduler asks for them
  runner.forward(batch, nullptr, has_candidates ? 1 : 0);
  for (size_t s = 0; s < last.size(); ++s) {
    const auto row = static_cast<int64_t>(s);
    last[s] = has_candidates ? runner.candidates(row).ids[0] : engine::arg_max(runner.logits(row));
  }
}

gguf::DType kv_dtype(const std::string& name) {
  const gguf::DTypeInfo* info = gguf::find_dtype(name);
  if (info == nullptr || (info->dtype != gguf::DType::kF32 && info->dtype != gguf::DType::kF16 && info->dtype != gguf::DType::kQ8_0))
    throw engine::EngineError(engine::ErrorCode::kInvalidRequest, "--kv-cache-type: expected f32, f16 or q8_0, got " + name);
  return info->dtype;
}

// Multiply-adds a token of a prompt costs: the output matrix is for the last one alone, attention is not counted.
int64_t n_layer_weights(const gguf::GgufFile& file) {
  int64_t n_weights = 0;
  for (const gguf::TensorInfo& tensor : file.tensors())
    if (tensor.name.starts_with("blk.") && tensor.n_dims == 2) n_weights += tensor.n_elems();
  return n_weights;
}

}  // namespace

int run_model_bench(const ModelBenchOptions& options) {
  const double load_start = now_seconds();
  const auto file = std::make_shared<const gguf::GgufFile>(gguf::GgufFile::open(options.path));
  engine::RunnerOptions runner_options;
  runner_options.device = options.device;
  runner_options.cpu_isa = options.cpu_isa;
  runner_options.n_threads = options.n_threads;
  runner_options.n_ctx = options.n_depth + std::max(options.n_prompt, options.n_generate) + 1;
  runner_options.n_sequences = options.n_sequences;
  runner_options.n_logits_max = options.n_sequences;
  runner_options.kv_dtype = kv_dtype(options.kv_cache_type);
  runner_options.n_deferred_bytes_min = 0;
  const auto runner = ModelRunner::open(file, runner_options);
  // A first token may come from weights that are not in memory yet: then that is the start, and loading ends later.
  std::vector<int32_t> first_token(1, 1);
  generate_step(*runner, first_token);
  const double start_s = now_seconds() - load_start;
  const bool is_deferred = !runner->is_loaded();
  runner->finish_loading();
  const double load_s = now_seconds() - load_start;
  const uint64_t start_peak_bytes = peak_memory_bytes(), start_hash = hash_logits(runner->logits(0));

  const auto prompt = make_prompt(options.n_prompt, runner->config().vocab_size);
  const auto depth = make_prompt(options.n_depth, runner->config().vocab_size);
  std::vector<double> prompt_s, generate_s;
  uint64_t first_hash = 0;
  runner->truncate(0, 0);
  first_token = {1};
  generate_step(*runner, first_token);
  bool is_correct = hash_logits(runner->logits(0)) == start_hash;
  for (int round = 0; round <= options.n_repeat; ++round) {  // round 0 warms up and is not counted
    // What lies before is read once: a step behind it costs the same in every round.
    for (int s = 0; s < options.n_sequences; ++s) {
      runner->truncate(s, round > 0 ? options.n_depth : 0);
      if (round == 0 && !depth.empty()) feed(*runner, s, depth);
    }
    double start = now_seconds();
    if (!prompt.empty()) feed(*runner, 0, prompt);
    if (round > 0) prompt_s.push_back(now_seconds() - start);
    // Generation is timed at the same depth as the prompt, not behind it.
    for (int s = 0; s < options.n_sequences; ++s) runner->truncate(s, options.n_depth);
    std::vector<int32_t> last(static_cast<size_t>(options.n_sequences), depth.empty() ? 1 : depth.back());
    start = now_seconds();
    for (int i = 0; i < options.n_generate; ++i) generate_step(*runner, last);
    if (round > 0) generate_s.push_back(now_seconds() - start);
    // The same work must give the same bits, and numbers that are numbers.
    const uint64_t hash = hash_logits(runner->logits(0));
    if (round == 0) first_hash = hash;
    if (hash != first_hash || !std::isfinite(runner->logits(0)[0])) is_correct = false;
  }

  const auto rate = [](int n, const std::vector<double>& seconds) { return seconds.empty() || n == 0 ? 0.0 : n / median(seconds); };
  const double prompt_rate = rate(options.n_prompt, prompt_s), generate_rate = rate(options.n_generate * options.n_sequences, generate_s);
  const int n_threads = runner->options().n_threads;
  const uint64_t peak_bytes = peak_memory_bytes();  // read before the bandwidth's measurement takes memory of its own
  const Roofline roofline = measure_roofline(n_threads);
  const double bandwidth = roofline.gbps();
  const kernels::Features features = options.cpu_isa.empty() ? kernels::cpu::detect_features()
                                                             : kernels::cpu::force_isa(options.cpu_isa, kernels::cpu::detect_features());
  const Peak& peak = roofline.best("int8", features);
  const double prompt_gops = 2 * static_cast<double>(n_layer_weights(*file)) * prompt_rate / 1e9;
  const double read_gbps = static_cast<double>(runner->weight_bytes()) * generate_rate / options.n_sequences / 1e9;
  char hash_text[24];
  std::snprintf(hash_text, sizeof hash_text, "%016llx", static_cast<unsigned long long>(first_hash));

  const boost::json::object report{
        {"model", options.path}, {"device", runner->device_name()}, {"cpu", cpu_name()}, {"n_threads", n_threads},
        {"n_prompt", options.n_prompt}, {"n_generate", options.n_generate}, {"n_depth", options.n_depth}, {"n_sequences", options.n_sequences},
        {"n_repeat", options.n_repeat}, {"n_micro_batch", std::min(options.n_prompt, static_cast<int>(runner->options().n_batch))}, {"prompt_tokens_per_second", prompt_rate},
        {"generate_tokens_per_second", generate_rate},
        {"prompt_spread", rate(options.n_prompt, prompt_s) * median_absolute_deviation(prompt_s) / std::max(1e-12, median(prompt_s))},
        {"generate_spread", generate_rate * median_absolute_deviation(generate_s) / std::max(1e-12, median(generate_s))},
        {"load_seconds", load_s}, {"start_seconds", start_s}, {"start_peak_memory_bytes", start_peak_bytes},
        {"peak_memory_bytes", peak_bytes},
        {"weight_bytes", runner->weight_bytes()}, {"kv_bytes", runner->kv_bytes()}, {"weights_read_gbps", read_gbps},
        {"read_bandwidth_gbps", bandwidth}, {"prompt_gops", prompt_gops}, {"peak", peak.name}, {"peak_gops", peak.gops_n},
        {"roofline", to_json(roofline)}, {"logits_hash", hash_text}, {"is_correct", is_correct},
        {"has_asserts", has_asserts()}, {"compiler", OLLAMAX_COMPILER}, {"version", OLLAMAX_VERSION},
        {"kernels", runner->describe_plan()}};
  if (!options.html_path.empty() && is_correct) write_html_report(options.html_path, "model", report);
  if (options.is_json) {
    std::puts(boost::json::serialize(report).c_str());
  } else {
    std::printf("ollamax-bench model %s\n\n", options.path.c_str());
    std::printf("- %s; %s; built with %s%s\n", cpu_name().c_str(), runner->device_name().c_str(), OLLAMAX_COMPILER,
                has_asserts() ? " WITH ASSERTS: not for comparison" : "");
    std::printf("- first token after %.2f s%s, all weights loaded after %.2f s, weights %.1f MB, cache %.1f MB, peak memory %.1f MB\n", start_s,
                is_deferred ? " (from the file)" : "", load_s, static_cast<double>(runner->weight_bytes()) / 1e6, static_cast<double>(runner->kv_bytes()) / 1e6,
                static_cast<double>(peak_bytes) / 1e6);
    std::printf("- measured with %d threads: reading %.1f GB/s; %s (%s) %.0f GOP/s, a multiply-add being two\n- kernels:\n", n_threads,
                bandwidth, peak.name.c_str(), peak.kind.c_str(), peak.gops_n);
    std::printf("%s\n", runner->describe_plan().c_str());
    std::printf("| work | tokens/s | median s | MAD s | matrices of the layers | share of the limit |\n| --- | --- | --- | --- | --- | --- |\n");
    std::printf("| prompt %d @ %d | %.1f | %.4f | %.4f | %.0f GOP/s | %.0f %% |\n", options.n_prompt, options.n_depth, prompt_rate,
                median(prompt_s), median_absolute_deviation(prompt_s), prompt_gops, 100 * prompt_gops / peak.gops_n);
    std::printf("| generate %d @ %d | %.1f | %.4f | %.4f | %.1f GB/s read | %.0f %% |\n", options.n_generate,
                options.n_depth, generate_rate, median(generate_s), median_absolute_deviation(generate_s),
                read_gbps, 100 * read_gbps / bandwidth);
    std::printf("\nlogits hash %s over %d runs: %s\n", hash_text, options.n_repeat + 1, is_correct ? "equal" : "DIFFERENT");
  }
  return is_correct ? 0 : 1;
}

}  // namespace olx::bench
