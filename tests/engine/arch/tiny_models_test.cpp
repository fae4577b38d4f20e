// Every architecture, as a tiny random model, on every device: by having a row in archs.inc it is tested.

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "engine/arch/architecture.h"
#include "engine/error.h"
#include "engine/model/model_runner.h"
#include "kernels/api/backend.h"
#include "tests/support/catch.h"
#include "tests/support/sanitizers.h"
#include "tests/support/test_paths.h"
#include "tests/support/tiny_model.h"

namespace {

using olx::engine::BatchToken;
using olx::engine::ModelRunner;
using olx::engine::RunnerOptions;
using olx::gguf::DType;

std::vector<int32_t> random_ids(int n, uint32_t seed) {
  std::mt19937 rng(seed);
  std::vector<int32_t> ids;
  for (int i = 0; i < n; ++i) ids.push_back(static_cast<int32_t>(rng() % olx::tests::kTinyVocab));
  return ids;
}

std::unique_ptr<ModelRunner> open_runner(const std::string& path, RunnerOptions options) {
  return ModelRunner::open(olx::gguf::GgufFile::open(path), options);
}

RunnerOptions small_options(const std::string& device, DType kv_dtype = DType::kF32) {
  RunnerOptions options;
  options.device = device;
  options.n_threads = 2;
  options.n_ctx = 256;
  options.n_sequences = 3;
  options.n_batch = 32;
  options.n_logits_max = 32;
  options.kv_dtype = kv_dtype;
  return options;
}

// Logits after every token, running the ids of one sequence in chunks.
std::vector<float> run_chunks(ModelRunner& runner, int32_t sequence, const std::vector<int32_t>& ids,
                              size_t chunk) {
  std::vector<float> all;
  for (size_t from = 0; from < ids.size(); from += chunk) {
    std::vector<BatchToken> batch;
    for (size_t i = from; i < std::min(from + chunk, ids.size()); ++i) {
      batch.push_back({ids[i], sequence, static_cast<int32_t>(i), true});
    }
    REQUIRE(runner.reserve(sequence, static_cast<int64_t>(from + batch.size())));
    REQUIRE(runner.forward(batch));
    for (size_t i = 0; i < batch.size(); ++i) {
      const auto row = runner.logits(static_cast<int64_t>(i));
      all.insert(all.end(), row.begin(), row.end());
    }
  }
  return all;
}

// sqrt(sum (a - b)^2 / sum b^2): quantised activations are off by a share of the signal, not by an absolute amount.
double relative_error(const std::vector<float>& a, const std::vector<float>& b) {
  REQUIRE(a.size() == b.size());
  double difference = 0, power = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    REQUIRE(std::isfinite(a[i]));
    difference += (static_cast<double>(a[i]) - b[i]) * (static_cast<double>(a[i]) - b[i]);
    power += static_cast<double>(b[i]) * b[i];
  }
  return std::sqrt(difference / power);
}

struct Place {
  std::string device;
  const char* isa = "";
};

// Every backend but the reference, and every instruction set of the CPU.
std::vector<Place> places() {
  std::vector<Place> all;
  for (const auto& backend : olx::kernels::backends()) {
    if (backend.unavailable_reason == nullptr && std::string(backend.name) != "reference" && !olx::tests::is_left_out(backend.name))
      all.push_back({backend.name, ""});
  }
  for (const char* isa : {"portable", "avx2", "avx512", "amx", "neon"}) all.push_back({"cpu", isa});
  return all;
}

}  // namespace

TEST_CASE("Architecture_RunsAlikeOnEveryDevice") {
  const olx::tests::TempDir folder;
  struct Case {
    DType dtype;
    int64_t scale;
    // f32 kernels differ by rounding. int8 activations: about 0.7 % a matmul of noise, which a random network adds up
    // over twenty of them; a wrong order, scale or mask gives 0.5 and more.
    double tolerance;
  };
  const auto [dtype, scale, tolerance] = GENERATE(Case{DType::kF32, 1, 2e-4}, Case{DType::kF16, 1, 2e-3},
                                                  Case{DType::kQ8_0, 1, 8e-2}, Case{DType::kQ4_K, 8, 8e-2});
  for (const auto& row : olx::engine::architectures()) {
    const std::string path = folder.file("tiny.gguf");
    olx::tests::write_tiny_model(row.name, {.seed = 11, .dtype = dtype, .scale = scale}, path);
    const std::vector<int32_t> ids = random_ids(scale == 1 ? 40 : 6, 5);
    const auto reference = open_runner(path, small_options("reference"));
    const std::vector<float> expected = run_chunks(*reference, 0, ids, 32);
    for (const Place& place : places()) {
      INFO(row.name << " on " << place.device << " " << place.isa << " with "
                    << olx::gguf::dtype_info(dtype).name);
      RunnerOptions options = small_options(place.device);
      options.cpu_isa = place.isa;
      std::unique_ptr<ModelRunner> runner;
      try {
        runner = open_runner(path, options);
      } catch (const olx::engine::EngineError& error) {
        // A backend may be built in where its device is absent, a processor lack an instruction set, a device an op.
        std::printf("SKIPPED: %s on %s %s: %s\n", row.name, place.device.c_str(), place.isa, error.what());
        CHECK(error.code() == olx::engine::ErrorCode::kUnsupported);
        CHECK_FALSE((place.device == "cpu" && std::string(place.isa).empty()));  // that one runs everywhere
        continue;
      }
      const double error = relative_error(run_chunks(*runner, 0, ids, 32), expected);
      INFO(runner->describe_plan());
      CHECK(error < tolerance);
    }
  }
}

TEST_CASE("Architecture_RunsWithEveryTypeOfCache") {
  const olx::tests::TempDir folder;
  const std::string path = folder.file("tiny.gguf");
  olx::tests::write_tiny_model("gemma3", {.seed = 12}, path);
  const std::vector<int32_t> ids = random_ids(70, 4);
  const std::vector<float> expected = run_chunks(*open_runner(path, small_options("reference")), 0, ids, 32);
  for (const auto& backend : olx::kernels::backends()) {
    if (backend.unavailable_reason != nullptr) continue;
    try {
      backend.devices();
    } catch (const olx::kernels::DeviceError& error) {
      std::printf("SKIPPED: %s: %s\n", backend.name, error.what());
      continue;
    }
    const char* device = backend.name;
    for (const auto& [dtype, tolerance] : {std::pair{DType::kF16, 5e-3}, std::pair{DType::kQ8_0, 5e-2}}) {
      INFO(device << " " << olx::gguf::dtype_info(dtype).name);
      const auto runner = open_runner(path, small_options(device, dtype));
      CHECK(relative_error(run_chunks(*runner, 0, ids, 32), expected) < tolerance);
    }
  }
}

// Kernels for GPUs that are not here: f32 weights leave them no more than rounding to differ by, and their bits are the
// same on every machine.
TEST_CASE("Architecture_WritesTheSameGreedyTextOnGpuKernelsAsOnTheReference") {
  const olx::tests::TempDir folder;
  const auto write = [](const std::string& path, const std::string& device) {
    const auto runner = open_runner(path, small_options(device, DType::kF16));
    std::vector<int32_t> ids = random_ids(20, 8);
    std::vector<BatchToken> batch;
    for (size_t i = 0; i < ids.size(); ++i)
      batch.push_back({ids[i], 0, static_cast<int32_t>(i), i + 1 == ids.size()});
    while (ids.size() < 44) {
      REQUIRE(runner->reserve(0, static_cast<int64_t>(ids.size())));
      REQUIRE(runner->forward(batch));
      const auto row = runner->logits(0);
      ids.push_back(static_cast<int32_t>(std::max_element(row.begin(), row.end()) - row.begin()));
      batch = {{ids.back(), 0, static_cast<int32_t>(ids.size() - 1), true}};
    }
    return ids;
  };
  for (const auto& row : olx::engine::architectures()) {
    const std::string path = folder.file("tiny.gguf");
    olx::tests::write_tiny_model(row.name, {.seed = 21}, path);
    const std::vector<int32_t> expected = write(path, "reference");
    for (const auto& backend : olx::kernels::backends()) {
      if (backend.unavailable_reason != nullptr || !std::string(backend.name).starts_with("host_simt")) continue;
      INFO(row.name << " on " << backend.name);
      CHECK(write(path, backend.name) == expected);
    }
  }
}

TEST_CASE("Architecture_GivesTheSameBitsWithAnyNumberOfThreads") {
  const olx::tests::TempDir folder;
  const std::string path = folder.file("tiny.gguf");
  olx::tests::write_tiny_model("qwen3", {.seed = 12, .dtype = DType::kQ8_0}, path);
  const std::vector<int32_t> ids = random_ids(40, 4);
  std::vector<float> expected;
  for (const int n_threads : {1, 2, 3, 7}) {
    RunnerOptions options = small_options("cpu", DType::kF16);
    options.n_threads = n_threads;
    const std::vector<float> got = run_chunks(*open_runner(path, options), 0, ids, 32);
    if (expected.empty()) expected = got;
    CHECK(std::memcmp(got.data(), expected.data(), got.size() * sizeof(float)) == 0);
  }
}

TEST_CASE("Architecture_DoesNotDependOnHowAPromptIsCutIntoBatches", "[T-107]") {
  const olx::tests::TempDir folder;
  for (const auto& row : olx::engine::architectures()) {
    INFO(row.name);
    const std::string path = folder.file("tiny.gguf");
    olx::tests::write_tiny_model(row.name, {.seed = 3}, path);
    const auto runner = open_runner(path, small_options("reference"));
    const std::vector<int32_t> ids = random_ids(70, 9);  // longer than a page and than the sliding windows
    const std::vector<float> whole = run_chunks(*runner, 0, ids, 32);
    CHECK(relative_error(run_chunks(*runner, 1, ids, 1), whole) < 1e-6);
    CHECK(relative_error(run_chunks(*runner, 2, ids, 7), whole) < 1e-6);
  }
}

TEST_CASE("Architecture_RunsWithoutItsOptionalWeights") {
  const olx::tests::TempDir folder;
  for (const auto& row : olx::engine::architectures()) {
    INFO(row.name);
    const std::string path = folder.file("tiny.gguf");
    olx::tests::write_tiny_model(row.name, {.seed = 3, .with_optional = false}, path);
    const auto runner = open_runner(path, small_options("reference"));
    for (float logit : run_chunks(*runner, 0, random_ids(5, 2), 5)) CHECK(std::isfinite(logit));
  }
}

TEST_CASE("Architecture_NamesEveryMissingAndMisshapenTensorAtOnce") {
  const olx::tests::TempDir folder;
  for (const auto& row : olx::engine::architectures()) {
    const std::string path = folder.file("tiny.gguf");
    olx::tests::write_tiny_model(row.name,
                                 {.skip_tensor = "blk.1.ffn_up.weight",
                                  .misshape_tensor = "blk.2.attn_k.weight"},
                                 path);
    try {
      open_runner(path, small_options("reference"));
      FAIL("opened a broken " << row.name);
    } catch (const olx::engine::EngineError& error) {
      const std::string what = error.what();
      INFO(what);
      CHECK(error.code() == olx::engine::ErrorCode::kModelLoad);
      CHECK(what.find("blk.1.ffn_up.weight: missing") != std::string::npos);
      CHECK(what.find("blk.2.attn_k.weight: expected [64, 64], file has [65, 64]") != std::string::npos);
    }
  }
}
