#include "engine/model/model_runner.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <string>
#include <vector>

#include "engine/error.h"
#include "tests/support/catch.h"
#include "tests/support/test_paths.h"
#include "tests/support/tiny_model.h"

namespace {

using olx::engine::BatchToken;
using olx::engine::ModelRunner;
using olx::engine::RunnerOptions;

std::unique_ptr<ModelRunner> tiny_runner(const olx::tests::TempDir& folder, RunnerOptions options = {}) {
  const std::string path = folder.file("tiny.gguf");
  olx::tests::write_tiny_model("gemma3", {.seed = 5}, path);
  options.device = "reference";
  options.n_ctx = 192;
  options.n_sequences = 3;
  options.n_batch = 16;
  options.kv_dtype = olx::gguf::DType::kF32;
  return ModelRunner::open(olx::gguf::GgufFile::open(path), options);
}

// Feeds ids from the sequence's end on; the logits after the last.
std::vector<float> feed(ModelRunner& runner, int32_t sequence, const std::vector<int32_t>& ids) {
  size_t done = 0;
  while (done < ids.size()) {
    std::vector<BatchToken> batch;
    const auto start = static_cast<int32_t>(runner.n_positions(sequence));
    for (size_t i = 0; i < 16 && done < ids.size(); ++i, ++done) {
      batch.push_back({ids[done], sequence, start + static_cast<int32_t>(i), done + 1 == ids.size()});
    }
    REQUIRE(runner.reserve(sequence, start + static_cast<int64_t>(batch.size())));
    REQUIRE(runner.forward(batch));
  }
  const auto row = runner.logits(0);
  return {row.begin(), row.end()};
}

std::vector<int32_t> some_ids(int n, int seed) {
  std::vector<int32_t> ids;
  for (int i = 0; i < n; ++i) ids.push_back((i * 31 + seed * 17 + 3) % 97);
  return ids;
}

void check_close(const std::vector<float>& a, const std::vector<float>& b) {
  REQUIRE(a.size() == b.size());
  float worst = 0;
  for (size_t i = 0; i < a.size(); ++i) worst = std::max(worst, std::abs(a[i] - b[i]));
  CHECK(worst < 1e-5f);
}

}  // namespace

TEST_CASE("ModelRunner_KeepsSequencesOfOneBatchApart", "[T-99]") {
  const olx::tests::TempDir folder;
  const auto runner = tiny_runner(folder);
  const auto alone_a = feed(*runner, 0, some_ids(6, 1));
  const auto alone_b = feed(*runner, 1, some_ids(6, 2));
  runner->truncate(0, 0);
  runner->truncate(1, 0);
  std::vector<BatchToken> batch;  // interleaved
  for (int i = 0; i < 6; ++i) {
    for (int s = 0; s < 2; ++s) batch.push_back({some_ids(6, s + 1)[static_cast<size_t>(i)], s, i, i == 5});
  }
  REQUIRE(runner->forward(batch));
  check_close({runner->logits(0).begin(), runner->logits(0).end()}, alone_a);
  check_close({runner->logits(1).begin(), runner->logits(1).end()}, alone_b);
}

namespace {

// The last token's logits are the same bits however the prompt is cut into batches.
void check_cuts(const std::string& path) {
  const auto runner = ModelRunner::open(olx::gguf::GgufFile::open(path), {.n_ctx = 192, .n_sequences = 2, .n_batch = 64});
  const std::vector<int32_t> ids = some_ids(150, 1);
  std::vector<std::vector<float>> all;
  for (const int64_t step : {64, 33, 16, 7, 3, 1}) {
    runner->truncate(0, 0);
    REQUIRE(runner->reserve(0, 150));
    for (int64_t from = 0; from < 150; from += step) {
      std::vector<BatchToken> batch;
      for (int64_t i = from; i < std::min<int64_t>(from + step, 150); ++i)
        batch.push_back({ids[static_cast<size_t>(i)], 0, static_cast<int32_t>(i), i == 149, true});
      REQUIRE(runner->forward(batch));
    }
    all.emplace_back(runner->logits(0).begin(), runner->logits(0).end());
    INFO("steps of " << step);
    CHECK(all.back() == all.front());
  }
}

}  // namespace

TEST_CASE("ModelRunner_GivesAPromptTheSameBitsHoweverItIsCut") {
  const olx::tests::TempDir folder;
  const std::string path = folder.file("tiny.gguf");
  olx::tests::write_tiny_model("gemma3", {.seed = 5}, path);
  check_cuts(path);
  for (const char* name : {"SmolLM2-135M-Instruct.Q4_1.gguf", "gemma-3-270m-q4_k_m.gguf"}) {
    const auto file = olx::tests::models_dir() / name;
    INFO(name);
    if (olx::tests::have(file)) check_cuts(file.string());
  }
}

namespace {

// What a token that was not there yet gets from a step: logits of ids[from .. to), `n_columns` of them a step, with rejected
// tokens after each group that are forgotten again.
std::vector<std::vector<float>> generate_in_groups(ModelRunner& runner, const std::vector<int32_t>& ids, int64_t from,
                                                   int64_t n_columns, int64_t n_rejected) {
  const auto to = static_cast<int64_t>(ids.size());
  runner.truncate(0, 0);
  REQUIRE(runner.reserve(0, to));
  std::vector<BatchToken> batch;
  for (int64_t i = 0; i < from; ++i) batch.push_back({ids[static_cast<size_t>(i)], 0, static_cast<int32_t>(i), false, true});
  REQUIRE(runner.forward(batch));
  std::vector<std::vector<float>> all;
  for (int64_t start = from; start < to; start += n_columns) {
    const int64_t end = std::min(start + n_columns, to);
    batch.clear();
    for (int64_t i = start; i < end; ++i) batch.push_back({ids[static_cast<size_t>(i)], 0, static_cast<int32_t>(i), true, false});
    for (int64_t i = end; i < end + n_rejected; ++i) batch.push_back({static_cast<int32_t>(i % 90), 0, static_cast<int32_t>(i), true, false});
    REQUIRE(runner.reserve(0, end + n_rejected));
    REQUIRE(runner.forward(batch));
    for (int64_t i = 0; i < end - start; ++i) all.emplace_back(runner.logits(i).begin(), runner.logits(i).end());
    runner.truncate(0, end);
  }
  return all;
}

// Tokens verified together have the logits they would have had one after another, to the last bit.
void check_groups(const std::string& path, olx::gguf::DType kv_dtype) {
  const auto runner = ModelRunner::open(olx::gguf::GgufFile::open(path),
                                        {.n_ctx = 192, .n_sequences = 2, .n_batch = 64, .n_logits_max = 16, .kv_dtype = kv_dtype});
  const std::vector<int32_t> ids = some_ids(108, 1);
  const auto alone = generate_in_groups(*runner, ids, 60, 1, 0);
  for (const int64_t n_columns : {2, 3, 4, 5, 6, 7, 8, 9, 11, 15, 16}) {
    const auto grouped = generate_in_groups(*runner, ids, 60, n_columns, 16 - n_columns);
    INFO(n_columns << " columns");
    REQUIRE(grouped.size() == alone.size());
    for (size_t i = 0; i < alone.size(); ++i) {
      INFO("token " << i);
      REQUIRE(grouped[i] == alone[i]);
    }
  }
}

}  // namespace

TEST_CASE("ModelRunner_GivesGeneratedTokensTheSameBitsHoweverManyAreComputedAtOnce", "[T-107]") {
  const olx::tests::TempDir folder;
  const std::string path = folder.file("tiny.gguf");
  for (const auto kv_dtype : {olx::gguf::DType::kF16, olx::gguf::DType::kQ8_0}) {
    // scale 8: heads wide enough for q8_0 blocks and weights of 256-column types
    for (const char* architecture : {"gemma3", "llama", "qwen3"}) {
      INFO(architecture << ", cache type " << static_cast<int>(kv_dtype));
      olx::tests::write_tiny_model(architecture, {.seed = 5, .dtype = olx::gguf::DType::kQ4_K, .scale = 8}, path);
      check_groups(path, kv_dtype);
    }
  }
  for (const char* name : {"SmolLM2-135M-Instruct.Q4_1.gguf", "gemma-3-270m-q4_k_m.gguf"}) {
    const auto file = olx::tests::models_dir() / name;
    INFO(name);
    if (olx::tests::have(file)) check_groups(file.string(), olx::gguf::DType::kF16);
  }
}

TEST_CASE("ModelRunner_ForgetsWhatIsTruncated") {
  const olx::tests::TempDir folder;
  const auto runner = tiny_runner(folder);
  const auto prefix = some_ids(70, 1);
  feed(*runner, 0, prefix);
  const auto expected = feed(*runner, 0, some_ids(3, 4));
  feed(*runner, 0, some_ids(30, 5));
  runner->truncate(0, 70);
  REQUIRE(runner->n_positions(0) == 70);
  check_close(feed(*runner, 0, some_ids(3, 4)), expected);
}

TEST_CASE("ModelRunner_SharesAPrefixWithoutMixingWhatFollows") {
  const olx::tests::TempDir folder;
  const auto runner = tiny_runner(folder);
  feed(*runner, 0, some_ids(80, 1));
  runner->keep_prefix(0, some_ids(80, 1), true);
  CHECK(runner->attach_prefix(1, some_ids(75, 1)) == 75);
  CHECK(runner->attach_prefix(2, some_ids(75, 1)) == 75);
  CHECK(runner->prefix_stats().n_tokens_saved == 150);
  const auto b = feed(*runner, 1, some_ids(4, 8));
  const auto c = feed(*runner, 2, some_ids(4, 9));
  const auto a = feed(*runner, 0, some_ids(4, 7));

  const auto fresh = tiny_runner(folder);
  auto ids = some_ids(80, 1);
  feed(*fresh, 0, ids);
  check_close(feed(*fresh, 0, some_ids(4, 7)), a);
  ids.resize(75);
  feed(*fresh, 1, ids);
  check_close(feed(*fresh, 1, some_ids(4, 8)), b);
  feed(*fresh, 2, ids);
  check_close(feed(*fresh, 2, some_ids(4, 9)), c);
}

TEST_CASE("ModelRunner_SaysWhenThereIsNoRoom") {
  const olx::tests::TempDir folder;
  const auto runner = tiny_runner(folder);
  CHECK(runner->reserve(0, 192));
  CHECK_FALSE(runner->reserve(1, 193));
  CHECK(runner->reserve(1, 192));
  CHECK(runner->reserve(2, 192));
}

TEST_CASE("ModelRunner_RemembersAPrefixOnlyInPagesThatNobodyNeeds") {
  const olx::tests::TempDir folder;
  const auto runner = tiny_runner(folder);
  const std::vector<int32_t> ids = some_ids(130, 1);
  const auto expected = feed(*runner, 0, ids);
  runner->keep_prefix(0, ids, true);
  runner->truncate(0, 0);
  CHECK(runner->n_kv_pages_used() == 0);
  CHECK(runner->n_kv_pages_cached() == 3);
  REQUIRE(runner->attach_prefix(1, {ids.data(), 129}) == 129);
  check_close(feed(*runner, 1, {ids.back()}), expected);  // in the third page, which is copied
  CHECK(runner->n_kv_pages_used() == 3);
  CHECK(runner->n_kv_pages_cached() == 1);
  for (const int32_t s : {0, 1, 2}) REQUIRE(runner->reserve(s, 192));
  CHECK(runner->n_kv_pages_used() == 9);
  CHECK(runner->n_kv_pages_cached() == 0);
  CHECK(runner->prefix_stats().n_evicted == 1);  // the two that sequence 1 reads cost nothing
  check_close(feed(*runner, 1, some_ids(3, 4)), [&] {
    const auto fresh = tiny_runner(folder);
    feed(*fresh, 0, ids);
    return feed(*fresh, 0, some_ids(3, 4));
  }());
}

TEST_CASE("ModelRunner_LeavesTheCacheAloneWhenCancelled") {
  const olx::tests::TempDir folder;
  const auto runner = tiny_runner(folder);
  const auto expected = feed(*runner, 0, some_ids(9, 1));
  runner->truncate(0, 5);
  const std::atomic<bool> cancel{true};
  const std::vector<BatchToken> batch{{3, 0, 5, true}};
  CHECK_FALSE(runner->forward(batch, &cancel));
  CHECK(runner->n_positions(0) == 5);
  const auto ids = some_ids(9, 1);
  check_close(feed(*runner, 0, {ids.begin() + 5, ids.end()}), expected);
}

TEST_CASE("ModelRunner_StopsLoadingWhenAsked") {
  const olx::tests::TempDir folder;
  RunnerOptions options;
  options.on_progress = [](float) { return false; };
  try {
    tiny_runner(folder, options);
    FAIL("was not cancelled");
  } catch (const olx::engine::EngineError& error) {
    CHECK(error.code() == olx::engine::ErrorCode::kCancelled);
  }
}

TEST_CASE("ModelRunner_SaysWhenAFileShrinksWhileItLoads", "[T-09]") {
  const olx::tests::TempDir folder;
  const std::string path = folder.file("tiny.gguf");
  olx::tests::write_tiny_model("llama", {.seed = 5}, path);
  auto file = olx::gguf::GgufFile::open(path);
  std::filesystem::resize_file(path, file.file_size_bytes() / 2);
  RunnerOptions options;
  options.device = "reference";
  CHECK_THROWS_AS(ModelRunner::open(std::move(file), options), olx::gguf::FormatError);
}

TEST_CASE("ModelRunner_RefusesDevicesItDoesNotKnow") {
  const olx::tests::TempDir folder;
  const std::string path = folder.file("tiny.gguf");
  olx::tests::write_tiny_model("llama", {.seed = 5}, path);
  RunnerOptions options;
  options.device = "abacus";
  try {
    ModelRunner::open(olx::gguf::GgufFile::open(path), options);
    FAIL("opened");
  } catch (const olx::engine::EngineError& error) {
    CHECK(std::string(error.what()).find("unknown device abacus (known: ") == 0);
  }
}
