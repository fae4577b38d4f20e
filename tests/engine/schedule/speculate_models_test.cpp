// Texts of real models with speculation and without it, token by token, over more than a hundred
// tokens.
#include <span>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "tests/support/catch.h"
#include "tests/support/test_paths.h"

using namespace olx::engine;

namespace {

// What a draft is easily right about, and what it is not.
const char* const kPrompts[] = {
    "Write this list again, in the same words:\n- apples from Kent\n- pears from Anjou\n- plums "
    "from Damascus\n"
    "- apples from Kent\n- pears from Anjou\n- plums from Damascus\n\nThe list again:\n- apples "
    "from",
    "def area(width, height):\n    return width * height\n\ndef volume(width, height, depth):\n    "
    "return width * height * "
    "depth\n\n# The same functions with type hints:\ndef area(",
    "Once upon a time, in a town by the sea, there lived a clockmaker who",
};

struct Text {
  std::vector<int32_t> tokens;
  std::vector<float> logprobs;
  GenerateStats stats;
};

Text generate(Engine& engine, const std::string& prompt, const SamplingOptions& sampling,
              int n_predict) {
  GenerateRequest request;
  request.prompt_tokens = engine.tokenize(prompt, true, false);
  request.sampling = sampling;
  request.n_predict = n_predict;
  request.n_logprobs = 0;
  request.ignore_eos = true;
  TokenStream stream = engine.submit(std::move(request));
  Text text;
  while (true) {
    const TokenEvent event = stream.next();
    text.tokens.insert(text.tokens.end(), event.tokens.begin(), event.tokens.end());
    for (const TokenLogprob& entry : event.logprobs) text.logprobs.push_back(entry.logprob);
    if (event.done == DoneReason::kNone) continue;
    REQUIRE(event.done == DoneReason::kLength);
    text.stats = event.stats;
    return text;
  }
}

std::vector<Text> generate_all(const EngineOptions& options, size_t n_prompts) {
  constexpr int n_predict = 120;
  const auto engine = Engine::open(options);
  std::vector<Text> texts;
  for (const char* prompt : std::span(kPrompts).first(n_prompts))
    for (const SamplingOptions& sampling :
         {SamplingOptions{.temperature = 0},
          SamplingOptions{.temperature = 0.8f, .repeat_penalty = 1.05f, .seed = 7}})
      texts.push_back(generate(*engine, prompt, sampling, n_predict));
  return texts;
}

void check_same(const std::vector<Text>& plain, const std::vector<Text>& other) {
  REQUIRE(plain.size() == other.size());
  int64_t n_drafted = 0, n_accepted = 0;
  for (size_t i = 0; i < plain.size(); ++i) {
    INFO("text " << i);
    CHECK(plain[i].tokens == other[i].tokens);
    CHECK(plain[i].logprobs == other[i].logprobs);  // to the last bit
    CHECK(plain[i].stats.n_drafted_tokens == 0);
    n_drafted += other[i].stats.n_drafted_tokens;
    n_accepted += other[i].stats.n_accepted_tokens;
  }
  CHECK(n_accepted > 0);
  CHECK(n_accepted < n_drafted);  // wrong ones were among them
}

}  // namespace

TEST_CASE("SpeculateModels_TextsAreBitEqualWithAndWithout") {
  for (const char* name : {"SmolLM2-135M-Instruct.Q4_1.gguf", "gemma-3-270m-q4_k_m.gguf"})
    for (const char* kv_cache_type : {"f16", "q8_0"}) {
      const auto file = olx::tests::models_dir() / name;
      if (!olx::tests::have(file)) continue;
      INFO(name << ", " << kv_cache_type);
      EngineOptions options;
      options.model_path = file.string();
      options.n_ctx = 1024;
      options.kv_cache_type = kv_cache_type;
      options.speculate = SpeculateMode::kOff;
      const bool is_first = std::string(kv_cache_type) == "f16";
      const size_t n_prompts = is_first ? std::size(kPrompts) : 1;
      std::vector<Text> plain = generate_all(options, n_prompts);
      options.speculate = SpeculateMode::kAlways;
      check_same(plain, generate_all(options, n_prompts));
      if (!is_first) continue;
      // The model as its own draft model: guesses what it would say without chance, and is wrong
      // where chance decides.
      options.draft_path = options.model_path;
      plain.resize(2);
      check_same(plain, generate_all(options, 1));
    }
}

TEST_CASE("SpeculateModels_ADraftModelOfAnotherVocabularyIsRefused") {
  const auto model = olx::tests::models_dir() / "SmolLM2-135M-Instruct.Q4_1.gguf";
  const auto other = olx::tests::models_dir() / "gemma-3-270m-q4_k_m.gguf";
  if (!olx::tests::have(model) || !olx::tests::have(other)) return;
  EngineOptions options;
  options.model_path = model.string();
  options.draft_path = other.string();
  std::string why;
  try {
    Engine::open(options);
  } catch (const EngineError& error) {
    CHECK(error.code() == ErrorCode::kInvalidRequest);
    why = error.what();
  }
  CHECK(why.find("vocabulary") != std::string::npos);
  options.is_draft_required = false;
  CHECK(Engine::open(options)->info().vocab_size == 49152);
}
