// Models that answer before their weights are in memory.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "engine/error.h"
#include "engine/model/model_runner.h"
#include "tests/support/catch.h"
#include "tests/support/test_paths.h"
#include "tests/support/tiny_model.h"

namespace {

using namespace olx;
using engine::BatchToken;
using engine::ModelRunner;
using engine::RunnerOptions;

std::string write(const tests::TempDir& folder, const char* architecture, gguf::DType dtype, bool with_optional) {
  const std::string path = folder.file("tiny.gguf");
  tests::write_tiny_model(architecture, {.seed = 5, .dtype = dtype, .scale = 8, .with_optional = with_optional}, path);
  return path;
}

std::unique_ptr<ModelRunner> open(const std::string& path, int64_t n_deferred_bytes_min, const std::string& device = "cpu") {
  RunnerOptions options;
  options.device = device;
  options.n_ctx = 256;
  options.n_batch = 96;
  options.n_deferred_bytes_min = n_deferred_bytes_min;
  return ModelRunner::open(gguf::GgufFile::open(path), options);
}

// The next tokens of sequence 0; the logits of the last, if it wants any.
std::vector<float> step(ModelRunner& runner, int64_t n, bool wants_logits, bool is_prompt, const std::atomic<bool>* cancel = nullptr) {
  const int64_t start = runner.n_positions(0);
  REQUIRE(runner.reserve(0, start + n));
  std::vector<BatchToken> batch;
  for (int64_t i = 0; i < n; ++i)
    batch.push_back({static_cast<int32_t>((start + i) * 31 % 97), 0, static_cast<int32_t>(start + i), wants_logits && i + 1 == n, is_prompt});
  if (!runner.forward(batch, cancel) || !wants_logits) return {};
  return {runner.logits(0).begin(), runner.logits(0).end()};
}

bool is_same(const std::vector<float>& a, const std::vector<float>& b) {
  return !a.empty() && a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

struct Case {
  const char* architecture;
  gguf::DType dtype;
  bool with_optional;  // without: logits are made with the table of embeddings
};
constexpr Case kCases[] = {
    {"llama", gguf::DType::kQ4_K, true}, {"gemma3", gguf::DType::kQ8_0, false}, {"qwen2", gguf::DType::kQ6_K, true}, {"llama", gguf::DType::kF16, true}};

}  // namespace

TEST_CASE("DeferredWeights_TheFirstStepHasTheBitsOfLoadedWeights") {
  const tests::TempDir folder;
  for (const Case& of : kCases)
    for (const int64_t n_tokens : {1, 7, 40, 90}) {
      INFO(of.architecture << ", type " << static_cast<int>(of.dtype) << ", " << n_tokens << " tokens");
      const std::string path = write(folder, of.architecture, of.dtype, of.with_optional);
      const auto loaded = open(path, -1), deferred = open(path, 0), large = open(path, int64_t{1} << 40);
      CHECK(loaded->is_loaded());
      CHECK(large->is_loaded());
      REQUIRE(!deferred->is_loaded());
      CHECK(loaded->n_unread_bytes() == 0);
      CHECK(deferred->n_unread_bytes() > loaded->weight_bytes() / 4);
      CHECK(deferred->n_unread_bytes() < loaded->weight_bytes());
      const bool is_prompt = n_tokens != 7;  // else as tokens that are verified together
      CHECK(is_same(step(*deferred, n_tokens, true, is_prompt), step(*loaded, n_tokens, true, is_prompt)));
      CHECK(!deferred->is_loaded());
      CHECK(deferred->take_loading_ns() == 0);
      // The second loads them.
      CHECK(is_same(step(*deferred, 1, true, false), step(*loaded, 1, true, false)));
      CHECK(deferred->is_loaded());
      CHECK(deferred->n_unread_bytes() == 0);
      CHECK(deferred->take_loading_ns() > 0);
      CHECK(deferred->take_loading_ns() == 0);
      CHECK(is_same(step(*deferred, 1, true, false), step(*loaded, 1, true, false)));
      CHECK(!deferred->is_lost());
    }
}

TEST_CASE("DeferredWeights_AreLoadedForAPromptThatGoesOnAndWhenAsked") {
  const tests::TempDir folder;
  const std::string path = write(folder, "llama", gguf::DType::kQ4_K, true);
  const auto loaded = open(path, -1), deferred = open(path, 0), asked = open(path, 0);
  step(*loaded, 50, false, true);
  step(*deferred, 50, false, true);
  CHECK(deferred->is_loaded());
  std::vector<float> told;
  asked->finish_loading([&](float fraction) {
    told.push_back(fraction);
    return true;
  });
  CHECK(asked->is_loaded());
  REQUIRE(told.size() >= 2);
  CHECK(told.back() == 1.0f);
  asked->finish_loading();
  step(*asked, 50, false, true);
  const std::vector<float> expected = step(*loaded, 3, true, true);
  CHECK(is_same(step(*deferred, 3, true, true), expected));
  CHECK(is_same(step(*asked, 3, true, true), expected));
}

TEST_CASE("DeferredWeights_LoadingThatWasCancelledIsDoneAgain") {
  const tests::TempDir folder;
  const std::string path = write(folder, "llama", gguf::DType::kQ4_K, true);
  const auto loaded = open(path, -1), deferred = open(path, 0);
  try {
    deferred->finish_loading([](float) { return false; });
    FAIL("was not cancelled");
  } catch (const engine::EngineError& error) {
    CHECK(error.code() == engine::ErrorCode::kCancelled);
  }
  CHECK(!deferred->is_loaded());
  CHECK(deferred->n_unread_bytes() > 0);
  // By who waits for a step.
  const std::atomic<bool> cancel{true};
  CHECK(step(*deferred, 5, false, true, &cancel).empty());
  CHECK(deferred->n_positions(0) == 0);
  CHECK(!deferred->is_loaded());
  CHECK(!deferred->is_lost());
  CHECK(is_same(step(*deferred, 5, true, true), step(*loaded, 5, true, true)));
  CHECK(is_same(step(*deferred, 1, true, false), step(*loaded, 1, true, false)));
  CHECK(deferred->is_loaded());
}

TEST_CASE("DeferredWeights_AFileThatShrinksCostsTheStepAndTheModel", "[T-09]") {
  const tests::TempDir folder;
  const std::string path = write(folder, "llama", gguf::DType::kQ4_K, true);
  const auto size = std::filesystem::file_size(path);
  for (const bool is_first_step : {true, false}) {
    INFO((is_first_step ? "in the first step" : "behind it"));
    write(folder, "llama", gguf::DType::kQ4_K, true);
    const auto runner = open(path, 0);
    if (!is_first_step) step(*runner, 4, true, true);
    std::filesystem::resize_file(path, size / 2);
    CHECK_THROWS_AS(step(*runner, 1, true, false), gguf::FormatError);
    CHECK(runner->is_lost());
    CHECK(runner->n_positions(0) == (is_first_step ? 0 : 4));
    CHECK_THROWS_AS(step(*runner, 1, true, false), gguf::FormatError);
    CHECK_THROWS_AS(runner->finish_loading(), gguf::FormatError);
  }
}

TEST_CASE("DeferredWeights_OnlyOfAFileThatTheSystemHasInMemory") {
  const tests::TempDir folder;
  const std::string path = write(folder, "llama", gguf::DType::kQ4_K, true);
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  const auto size = static_cast<size_t>(std::filesystem::file_size(path));
  const auto n_resident = [&] {  // as the system tells it elsewhere
    void* mapping = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, fd, 0);
    REQUIRE(mapping != MAP_FAILED);
    std::vector<unsigned char> pages((size + 4095) / 4096);
    REQUIRE(::mincore(mapping, size, pages.data()) == 0);
    ::munmap(mapping, size);
    size_t n = 0;
    for (const unsigned char page : pages) n += page & 1;
    return n;
  };
  REQUIRE(n_resident() > 0);
  CHECK(gguf::GgufFile::open(path).is_cached());
  REQUIRE(::fsync(fd) == 0);
  REQUIRE(::posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) == 0);
  if (n_resident() == 0) {  // a file system in memory keeps it
    const gguf::GgufFile file = gguf::GgufFile::open(path);
    REQUIRE(::posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) == 0);
    if (n_resident() == 0) CHECK(!file.is_cached());
  }
  ::close(fd);
}

TEST_CASE("DeferredWeights_OnlyWhereTheProcessorDoesAll") {
  const tests::TempDir folder;
  const std::string path = write(folder, "llama", gguf::DType::kQ4_K, true);
  CHECK(open(path, 0, "reference")->is_loaded());
}
