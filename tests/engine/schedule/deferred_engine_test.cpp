// An engine that answers before its model's weights are in memory.
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "engine/engine.h"
#include "tests/support/catch.h"
#include "tests/support/test_paths.h"
#include "tests/support/tiny_model.h"
#include "tests/support/ascii_vocabulary.h"

namespace {

using namespace olx;
using namespace olx::engine;

std::unique_ptr<Engine> open(const std::string& path, int64_t n_deferred_bytes_min) {
  EngineOptions options;
  options.model_path = path;
  options.n_ctx = 256;
  options.n_deferred_bytes_min = n_deferred_bytes_min;
  return Engine::open(options);
}

struct Answer {
  std::vector<int32_t> tokens;
  DoneReason done = DoneReason::kNone;
  GenerateStats stats;
};
Answer generate(Engine& engine, int n_predict) {
  GenerateRequest request;
  request.prompt_tokens = engine.tokenize("the first words of it", true, false);
  request.sampling.temperature = 0;
  request.n_predict = n_predict;
  request.ignore_eos = true;
  TokenStream stream = engine.submit(std::move(request));
  Answer answer;
  while (answer.done == DoneReason::kNone) {
    const TokenEvent event = stream.next();
    answer.tokens.insert(answer.tokens.end(), event.tokens.begin(), event.tokens.end());
    answer.done = event.done;
    answer.stats = event.stats;
  }
  return answer;
}

std::string write(const tests::TempDir& folder) {
  tests::TinyModel tiny;
  tiny.dtype = gguf::DType::kQ4_K;
  tiny.scale = 8;
  tiny.more_metadata = tests::write_ascii_vocabulary;
  const std::string path = folder.file("tiny.gguf");
  tests::write_tiny_model("llama", tiny, path);
  return path;
}

}  // namespace

TEST_CASE("Engine_AnswersTheSameWhileItsWeightsAreBeingLoaded") {
  const tests::TempDir folder;
  const std::string path = write(folder);
  const auto loaded = open(path, -1);
  for (const int n_predict : {1, 2, 30}) {
    INFO(n_predict << " tokens");
    const Answer expected = generate(*loaded, n_predict);
    const auto deferred = open(path, 0);  // which does not wait long for a request, and then loads all
    const Answer first = generate(*deferred, n_predict), second = generate(*deferred, n_predict);
    CHECK(expected.done == DoneReason::kLength);
    CHECK(first.tokens == expected.tokens);
    CHECK(second.tokens == expected.tokens);
    // What was waited for is told apart.
    CHECK(expected.stats.load_ns == 0);
    CHECK((first.stats.load_ns > 0) == (n_predict > 1));
    CHECK(second.stats.load_ns == 0);
    CHECK(first.stats.generate_ns >= 0);
  }
}

TEST_CASE("Engine_LoadsWhatNobodyWaitsFor") {
  const tests::TempDir folder;
  const std::string path = write(folder);
  const auto engine = open(path, 0);
  CHECK(engine->stats().n_unread_bytes > 0);
  // Progress counts as steps.
  for (int i = 0; i < 2000 && engine->stats().n_steps == 0; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  CHECK(engine->stats().n_steps > 0);
  const Answer answer = generate(*engine, 5);
  CHECK(answer.stats.load_ns == 0);
  CHECK(engine->stats().n_unread_bytes == 0);
  CHECK(answer.tokens == generate(*open(path, -1), 5).tokens);
  for (int i = 0; i < 20; ++i) {  // ended at any time of it
    const auto brief = open(path, 0);
    std::this_thread::sleep_for(std::chrono::milliseconds(95 + i));
  }
}
