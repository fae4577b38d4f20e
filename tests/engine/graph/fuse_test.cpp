// Steps of few tokens in fewer launches: how many, and that they make the same text; and the
// largest logits of a step.

#include "engine/graph/fuse.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "engine/arch/architecture.h"
#include "engine/graph/candidates.h"
#include "engine/graph/staged_plan.h"
#include "engine/model/model_runner.h"
#include "tests/kernels/gpu/fake_driver.h"
#include "tests/support/catch.h"
#include "tests/support/sanitizers.h"
#include "tests/support/test_paths.h"
#include "tests/support/tiny_model.h"

namespace olx::engine {
namespace {

using gguf::DType;

RunnerOptions options_of(DType kv_dtype) {
  RunnerOptions options;
  options.n_gpu_layers = 100;
  options.n_threads = 2;
  options.n_ctx = 128;
  options.n_sequences = 2;
  options.n_batch = 32;
  options.kv_dtype = kv_dtype;
  return options;
}

std::unique_ptr<ModelRunner> open_on_fake(const std::string& path, DType kv_dtype = DType::kF16) {
  RunnerOptions options = options_of(kv_dtype);
  options.open_devices = [] {
    std::vector<std::unique_ptr<kernels::Device>> devices;
    devices.push_back(kernels::gpu::open_fake_device(0));
    return devices;
  };
  return ModelRunner::open(gguf::GgufFile::open(path), options);
}

// Launches of a step of so many tokens.
int launches_of(ModelRunner& runner, int n_tokens, bool wants_logits) {
  runner.truncate(0, 0);
  REQUIRE(runner.reserve(0, n_tokens));
  std::vector<BatchToken> batch;
  for (int i = 0; i < n_tokens; ++i)
    batch.push_back({5 + i, 0, i, wants_logits && i + 1 == n_tokens, n_tokens > 1});
  const int before = kernels::gpu::fake_driver().n_launches;
  REQUIRE(runner.forward(batch));
  return kernels::gpu::fake_driver().n_launches - before;
}

}  // namespace

// The embedding, the table of angles, rows of the last layer for the logits (two), the norm, the
// encoding and the product that makes them are beside the layers.
TEST_CASE("Fuse_ATokenIsFiveLaunchesALayer") {
  const auto form = GENERATE(from_range(kernels::gpu::fake_kinds()));
  const tests::TempDir folder;
  const std::string path = folder.file("tiny.gguf");
  struct Expected {
    const char* architecture;
    int few, many;  // of a layer
  };
  // Qwen 3 and Gemma 3 normalise the heads of q and k, in a launch more; Gemma 2 and 3 also what each block adds, in two.
  for (const auto& [architecture, few, many] :
       {Expected{"llama", 5, 18}, Expected{"qwen2", 5, 18}, Expected{"gemma", 5, 18},
        Expected{"gemma2", 7, 20}, Expected{"qwen3", 6, 20}, Expected{"gemma3", 8, 22}}) {
    INFO(architecture);
    tests::write_tiny_model(architecture, {.seed = 3, .dtype = DType::kQ8_0}, path);
    begin_fake_driver(form.form, form.wave_size);
    {
      const auto runner = open_on_fake(path);
      const auto n_layers = static_cast<int>(runner->n_places()) - 1;
      const bool has_two_tables = std::string(architecture) == "gemma3";
      const int beside =
          2 + (has_two_tables ? 1 : 0) + 2 + 3 +
          (std::string(architecture).starts_with("gemma") && std::string(architecture) != "gemma" &&
                   runner->config().logit_softcap > 0
               ? 1
               : 0);
      CHECK(launches_of(*runner, 1, true) - beside == few * n_layers);
      CHECK(launches_of(*runner, kFewTokens, true) - beside == few * n_layers);
      // Of the last layer, what is behind attention is for the tokens that want logits: few,
      // always.
      CHECK(launches_of(*runner, kFewTokens + 1, true) - beside == many * n_layers - 6);
    }
    CHECK(kernels::gpu::fake_driver().misuse == "");
    CHECK_FALSE(kernels::gpu::fake_driver().has_leaks());
  }
}

TEST_CASE("Fuse_LeavesWhatNoKernelTakes") {
  kernels::gpu::begin_fake_driver();
  const tests::TempDir folder;
  const std::string path = folder.file("tiny.gguf");
  // A cache of Q8_0 is written in blocks of columns, which are not one wave's: in a launch of its own.
  tests::write_tiny_model("llama", {.seed = 3, .dtype = DType::kQ8_0}, path);
  {
    const auto runner = open_on_fake(path, DType::kQ8_0);
    const auto n_layers = static_cast<int>(runner->n_places()) - 1;
    CHECK(launches_of(*runner, 1, true) - 7 == 6 * n_layers);
  }
  // Kernels of f32 weights read f32 as it is.
  tests::write_tiny_model("llama", {.seed = 3}, path);
  const auto runner = open_on_fake(path);
  CHECK(launches_of(*runner, 1, true) == launches_of(*runner, kFewTokens + 1, true));
}

TEST_CASE("Fuse_WritesNearlyTheSameLogits") {
  const tests::TempDir folder;
  const std::string path = folder.file("tiny.gguf");
  for (const auto& row : architectures()) {
    tests::write_tiny_model(row.name, {.seed = 5, .dtype = DType::kQ8_0}, path);
    for (const std::string device : {"host_simt32", "host_simt64"}) {
      if (tests::is_left_out(device)) continue;
      INFO(row.name << " on " << device);
      RunnerOptions options = options_of(DType::kF16);
      options.device = device;
      const auto runner = ModelRunner::open(gguf::GgufFile::open(path), options);
      // The same twelve tokens in one step, and in steps of few.
      const auto logits_in_steps = [&](int32_t sequence, int n_step) {
        for (int from = 0; from < 12; from += n_step) {
          std::vector<BatchToken> batch;
          for (int i = from; i < from + n_step; ++i)
            batch.push_back({(i * 13 + 5) % 97, sequence, i, i == 11, true});
          REQUIRE(runner->reserve(sequence, from + n_step));
          REQUIRE(runner->forward(batch));
        }
        const auto logits = runner->logits(0);
        return std::vector<float>(logits.begin(), logits.end());
      };
      const std::vector<float> many = logits_in_steps(0, 12), few = logits_in_steps(1, 3);
      double difference = 0, power = 0;
      for (size_t i = 0; i < many.size(); ++i) {
        REQUIRE(std::isfinite(few[i]));
        difference += (double{few[i]} - many[i]) * (double{few[i]} - many[i]);
        power += double{many[i]} * many[i];
      }
      CHECK(std::sqrt(difference / power) < 5e-2);
    }
  }
}

TEST_CASE("Candidates_AreTheLargestLogitsInTheSamplersOrder") {
  for (const std::string name : {"host_simt32", "host_simt64", "reference"}) {
    if (name != "reference" && tests::is_left_out(name)) continue;
    const auto device = kernels::find_backend(name)->open({});
    constexpr int64_t kRows = 3;
    for (const int64_t n_cols : {97, 4096, 4097, 9000}) {
      REQUIRE(Candidates::are_offered(device->info(), n_cols));
      Candidates candidates(*device, kRows, n_cols, nullptr);
      CHECK(candidates.own_bytes() <= Candidates::needed_bytes(kRows, n_cols));
      const auto buffer = device->allocate(static_cast<size_t>(kRows * n_cols) * sizeof(float));
      auto* logits = static_cast<float*>(buffer->host());
      uint32_t state = 7;
      for (int64_t i = 0; i < kRows * n_cols; ++i) {
        state = state * 1664525u + 1013904223u;
        logits[i] = static_cast<float>(state >> 22) - 500;  // many are equal
        if (state % 3 == 0) logits[i] = -INFINITY;
      }
      logits[n_cols + n_cols / 2] = NAN;
      for (const int64_t k : {1, 40, 128}) {
        INFO(name << " " << n_cols << " " << k);
        candidates.set({logits, kRows, n_cols, n_cols}, k);
        REQUIRE(device->execute(candidates.nodes()));
        device->sync();
        for (const int64_t row : {0, 2}) {
          std::vector<std::pair<float, int32_t>> sorted;
          for (int64_t col = 0; col < n_cols; ++col)
            if (logits[row * n_cols + col] > -INFINITY)
              sorted.emplace_back(-logits[row * n_cols + col], static_cast<int32_t>(col));
          std::sort(sorted.begin(), sorted.end());
          const CandidateRow got = candidates.row(row);
          REQUIRE(got.logits.size() == static_cast<size_t>(k));
          for (size_t i = 0; i < got.logits.size(); ++i) {
            const bool is_there = i < sorted.size();
            CHECK(got.logits[i] == (is_there ? -sorted[i].first : -INFINITY));
            CHECK(got.ids[i] == (is_there ? sorted[i].second : -1));
          }
        }
        CHECK(std::isnan(candidates.row(1).logits[0]));
      }
    }
  }
}

TEST_CASE("Candidates_OfAModelAreThoseOfItsLogits") {
  kernels::gpu::begin_fake_driver();
  const tests::TempDir folder;
  const std::string path = folder.file("tiny.gguf");
  tests::write_tiny_model("llama", {.seed = 3, .dtype = DType::kQ8_0}, path);
  const auto check_candidates = [](ModelRunner& runner, int n_tokens) {
    REQUIRE(runner.n_candidates_max() == kernels::kTopKMax);
    runner.truncate(0, 0);
    REQUIRE(runner.reserve(0, n_tokens));
    std::vector<BatchToken> batch;
    for (int i = 0; i < n_tokens; ++i) batch.push_back({5 + i, 0, i, i >= n_tokens - 2, true});
    REQUIRE(runner.forward(batch, nullptr, 5));
    for (int64_t row = 0; row < 2; ++row) {
      const std::span<const float> logits = runner.logits(row);
      const CandidateRow got = runner.candidates(row);
      REQUIRE(got.ids.size() == 5);
      std::vector<float> sorted(logits.begin(), logits.end());
      std::sort(sorted.begin(), sorted.end(), std::greater<>());
      for (size_t i = 0; i < 5; ++i) {
        CHECK(got.logits[i] == sorted[i]);
        CHECK(logits[static_cast<size_t>(got.ids[i])] == sorted[i]);
      }
    }
  };
  const auto runner = open_on_fake(path);
  for (const int n_tokens : {2, 11}) check_candidates(*runner, n_tokens);  // both plans
  RunnerOptions options = options_of(DType::kF16);
  options.device = "cpu";
  check_candidates(*ModelRunner::open(gguf::GgufFile::open(path), options), 2);
  CHECK(kernels::gpu::fake_driver().misuse == "");
}

}  // namespace olx::engine
