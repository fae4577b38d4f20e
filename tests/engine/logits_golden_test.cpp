// Whole models against float64 truth (shared/golden/logits/README in the team's shared folder): the reference backend
// almost exactly, the default kernels within what quantised activations may cost.

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include <boost/json.hpp>

#include "engine/error.h"
#include "engine/model/model_runner.h"
#include "tests/support/catch.h"
#include "tests/support/test_paths.h"

namespace {

using olx::engine::BatchToken;
using olx::engine::ModelRunner;
using olx::engine::RunnerOptions;

struct Position {
  double logsumexp = 0;
  std::vector<std::pair<int32_t, double>> top;
};

struct Golden {
  std::vector<int32_t> tokens;
  std::vector<int32_t> greedy;
  std::vector<Position> positions;  // of tokens, then of greedy but its last
  double mean_nll = 0;
};

std::vector<int32_t> ids_of(const boost::json::value& array) {
  std::vector<int32_t> ids;
  for (const auto& id : array.as_array()) ids.push_back(id.to_number<int32_t>());
  return ids;
}

Golden read_golden(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  const boost::json::value root = boost::json::parse(text.str());
  Golden golden;
  golden.tokens = ids_of(root.at("tokens"));
  golden.greedy = ids_of(root.at("greedy"));
  golden.mean_nll = root.at("mean_nll").to_number<double>();
  for (const char* list : {"positions", "greedy_positions"}) {
    for (const auto& entry : root.at(list).as_array()) {
      Position position;
      position.logsumexp = entry.at("logsumexp").to_number<double>();
      for (const auto& pair : entry.at("top").as_array()) {
        position.top.push_back({pair.at(0).to_number<int32_t>(), pair.at(1).to_number<double>()});
      }
      golden.positions.push_back(std::move(position));
    }
  }
  return golden;
}

double log_sum_exp(std::span<const float> logits) {
  double max = -INFINITY;
  for (float logit : logits) max = std::max(max, static_cast<double>(logit));
  double sum = 0;
  for (float logit : logits) sum += std::exp(static_cast<double>(logit) - max);
  return max + std::log(sum);
}

struct Score {
  size_t n = 0;
  size_t n_same_top = 0;
  double worst = 0;       // largest difference of a listed log-probability above -8
  double sum_kl = 0;      // over the listed ten
  double sum_nll = 0;
  size_t n_nll = 0;
  size_t n_same_greedy = 0;
  size_t n_greedy = 0;

  void add(const Position& truth, std::span<const float> logits, int32_t next) {
    const double norm = log_sum_exp(logits);
    const auto best = std::max_element(logits.begin(), logits.end()) - logits.begin();
    ++n;
    n_same_top += best == truth.top[0].first ? 1 : 0;
    for (const auto& [id, logprob] : truth.top) {
      const double difference = logprob - (logits[static_cast<size_t>(id)] - norm);
      if (logprob > -8) worst = std::max(worst, std::abs(difference));
      sum_kl += std::exp(logprob) * difference;
    }
    if (next >= 0) {
      sum_nll += norm - logits[static_cast<size_t>(next)];
      ++n_nll;
    }
  }
  double mean_kl() const { return sum_kl / static_cast<double>(n); }
  double mean_nll() const { return sum_nll / static_cast<double>(n_nll); }
};

// Feeds prompt and recorded continuation, at most n_most tokens, and scores each position's distribution.
void score(ModelRunner& runner, const Golden& golden, size_t n_most, Score& total) {
  std::vector<int32_t> ids = golden.tokens;
  if (!golden.greedy.empty()) ids.insert(ids.end(), golden.greedy.begin(), golden.greedy.end() - 1);
  const size_t n = std::min(ids.size(), n_most);
  runner.truncate(0, 0);
  for (size_t from = 0; from < n; from += 32) {
    std::vector<BatchToken> batch;
    for (size_t i = from; i < std::min(from + 32, n); ++i) {
      batch.push_back({ids[i], 0, static_cast<int32_t>(i), true, true});
    }
    REQUIRE(runner.forward(batch));
    for (size_t i = from; i < from + batch.size(); ++i) {
      const auto logits = runner.logits(static_cast<int64_t>(i - from));
      const int32_t next = i + 1 < golden.tokens.size() ? golden.tokens[i + 1] : -1;
      total.add(golden.positions[i], logits, next);
      if (i + 1 < golden.tokens.size()) continue;
      const auto best = std::max_element(logits.begin(), logits.end()) - logits.begin();
      ++total.n_greedy;
      total.n_same_greedy += best == golden.greedy[i + 1 - golden.tokens.size()] ? 1 : 0;
    }
  }
}

struct ModelCase {
  const char* name;
  const char* file;
  std::vector<const char*> prompts;
  double kl_limit;
  double top_limit;
};

const std::vector<ModelCase>& model_cases() {
  static const std::vector<ModelCase> cases{
      {"smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf", {"short", "chat", "code", "chinese", "long"}, 0.0027, 0.97},
      {"gemma3", "gemma-3-270m-q4_k_m.gguf", {"short", "code", "chinese", "long"}, 0.0035, 0.96}};
  return cases;
}

std::unique_ptr<ModelRunner> open_model(const ModelCase& model, RunnerOptions options) {
  const auto path = olx::tests::models_dir() / model.file;
  options.n_ctx = 2048;
  options.n_batch = 32;
  options.n_logits_max = 32;
  return ModelRunner::open(olx::gguf::GgufFile::open(path.string()), options);
}

bool is_ready(const ModelCase& model) {
  return olx::tests::have(olx::tests::shared_dir() / "golden/logits") &&
         olx::tests::have(olx::tests::models_dir() / model.file);
}

Golden golden_of(const ModelCase& model, const char* prompt) {
  return read_golden(olx::tests::shared_dir() / "golden/logits" /
                     (std::string(model.name) + "-" + prompt + ".json"));
}

void print(const char* what, const ModelCase& model, const char* prompt, const Score& s, double true_nll) {
  std::printf("%-9s %-8s %-8s n %4zu  mean KL %.6f  same top %.2f%%  worst |dlogp| %.6f  nll %.5f (true %.5f)"
              "  greedy %zu/%zu\n",
              what, model.name, prompt, s.n, s.mean_kl(),
              100.0 * static_cast<double>(s.n_same_top) / static_cast<double>(s.n), s.worst,
              s.n_nll > 0 ? s.mean_nll() : 0.0, true_nll, s.n_same_greedy, s.n_greedy);
  std::fflush(stdout);
}

}  // namespace

TEST_CASE("Logits_ReferenceBackendKeepsToTheTruth") {
  // The reference is slow: by default the first tokens of each prompt. OLLAMAX_GOLDEN_TOKENS=100000 runs all.
  const char* set = std::getenv("OLLAMAX_GOLDEN_TOKENS");
  const size_t n_most = set != nullptr ? static_cast<size_t>(std::atoll(set)) : 24;
  for (const ModelCase& model : model_cases()) {
    if (!is_ready(model)) continue;
    RunnerOptions options;
    options.device = "reference";
    options.kv_dtype = olx::gguf::DType::kF32;
    const auto runner = open_model(model, options);
    for (const char* prompt : model.prompts) {
      const Golden golden = golden_of(model, prompt);
      Score total;
      score(*runner, golden, n_most, total);
      print("reference", model, prompt, total, golden.mean_nll);
      CHECK(total.worst < 1e-4);
      CHECK(total.n_same_greedy == total.n_greedy);
    }
  }
}

// Of the processor, or of the backend that OLLAMAX_TEST_BACKEND names, which then has to be there.
TEST_CASE("Logits_DefaultKernelsStayCloseToTheTruth") {
  RunnerOptions options;
  const char* const backend = std::getenv("OLLAMAX_TEST_BACKEND");
  if (backend != nullptr) options.device = backend;
  for (const ModelCase& model : model_cases()) {
    if (!is_ready(model)) continue;
    std::unique_ptr<ModelRunner> runner;
    try {
      runner = open_model(model, options);
    } catch (const olx::engine::EngineError& error) {
      std::printf("SKIPPED: %s: %s\n", model.name, error.what());
      CHECK(error.code() == olx::engine::ErrorCode::kUnsupported);
      CHECK(backend == nullptr);
      continue;
    }
    std::printf("%s", runner->describe_plan().c_str());
    Score total;
    double true_nll = 0;
    for (const char* prompt : model.prompts) {
      const Golden golden = golden_of(model, prompt);
      Score one;
      score(*runner, golden, SIZE_MAX, one);
      print("default", model, prompt, one, golden.mean_nll);
      true_nll += golden.mean_nll * static_cast<double>(one.n_nll);
      total.sum_nll += one.sum_nll;
      total.n_nll += one.n_nll;
      total.n += one.n;
      total.n_same_top += one.n_same_top;
      total.sum_kl += one.sum_kl;
    }
    const double same_top = static_cast<double>(total.n_same_top) / static_cast<double>(total.n);
    std::printf("default   %s: all positions: mean KL %.6f, same top %.2f%%\n", model.name, total.mean_kl(),
                100 * same_top);
    CHECK(total.mean_kl() <= model.kl_limit);
    CHECK(same_top >= model.top_limit);
    CHECK(std::abs(total.sum_nll / true_nll - 1) < 0.01);
  }
}
