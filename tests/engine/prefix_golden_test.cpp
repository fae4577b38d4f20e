// The prefix cache with whole models: a second turn after other conversations, against the same
// turn on an engine that has seen nothing. Gemma 3's windows of 512 positions end within the first
// turn.

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <string>
#include <thread>
#include <vector>

#include "engine/engine.h"
#include "tests/support/catch.h"
#include "tests/support/test_paths.h"

using namespace olx::engine;

namespace {

using Tokens = std::vector<int32_t>;

struct Answer {
  Tokens tokens;
  std::vector<TokenLogprob> logprobs;
  GenerateStats stats;
};

Answer ask(Engine& engine, const Tokens& prompt, int n_predict) {
  GenerateRequest request;
  request.prompt_tokens = prompt;
  request.sampling.temperature = 0;
  request.n_predict = n_predict;
  request.ignore_eos = true;
  request.n_logprobs = 20;
  TokenStream stream = engine.submit(std::move(request));
  Answer answer;
  while (true) {
    const TokenEvent event = stream.next();
    REQUIRE(event.error.empty());
    answer.tokens.insert(answer.tokens.end(), event.tokens.begin(), event.tokens.end());
    answer.logprobs.insert(answer.logprobs.end(), event.logprobs.begin(), event.logprobs.end());
    if (event.done == DoneReason::kNone) continue;
    answer.stats = event.stats;
    REQUIRE(event.done == DoneReason::kLength);
    return answer;
  }
}

// KL(expected || got) over the tokens that both list, and one class of all others.
double divergence(const TokenLogprob& expected, const TokenLogprob& got) {
  double sum = 0, rest = 1, other_rest = 1;
  const auto add = [&](double p, double q) { sum += p > 0 ? p * std::log(p / q) : 0; };
  for (const TokenLogprob::Rival& rival : expected.top)
    for (const TokenLogprob::Rival& other : got.top) {
      if (other.id != rival.id) continue;
      const double p = std::exp(static_cast<double>(rival.logprob)),
                   q = std::exp(static_cast<double>(other.logprob));
      add(p, q);
      rest -= p;
      other_rest -= q;
    }
  add(rest, std::max(other_rest, 1e-9));
  return sum;
}

bool is_same(const TokenLogprob& a, const TokenLogprob& b) {
  return std::equal(
      a.top.begin(), a.top.end(), b.top.begin(), b.top.end(),
      [](const auto& x, const auto& y) { return x.id == y.id && x.logprob == y.logprob; });
}

Tokens text_of(const Engine& engine, const std::string& about, size_t n_tokens) {
  std::string text = "Tell me about " + about + ".";
  for (int i = 0; text.size() < n_tokens * 6; ++i)
    text += " On day " + std::to_string(i * 37 % 101) + " the " + about + " was seen " +
            std::to_string(i * i % 23) + " times, and nobody could say where it would go next.";
  Tokens tokens = engine.tokenize(text, true, false);
  REQUIRE(tokens.size() >= n_tokens);
  tokens.resize(n_tokens);
  return tokens;
}

Tokens joined(Tokens a, const Tokens& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

int64_t n_new(const Answer& answer) {
  return answer.stats.n_prompt_tokens - answer.stats.n_cached_tokens;
}

// The engine has evaluated so many prompt tokens in all. It says so a moment after the answer ends.
bool has_read(const Engine& engine, int64_t n_tokens) {
  for (int i = 0; i < 1000 && engine.stats().n_prompt_tokens < n_tokens; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  return engine.stats().n_prompt_tokens == n_tokens;
}

void check_second_turns(const std::string& path, const std::string& kv_type, double kl_limit) {
  EngineOptions options;
  options.model_path = path;
  options.n_ctx = 2048;
  options.n_parallel = 2;
  options.kv_cache_type = kv_type;
  const auto engine = Engine::open(options);
  const Tokens first = text_of(*engine, "whale", 1000);
  const Answer turn = ask(*engine, first, 30);
  CHECK(turn.stats.n_cached_tokens <= 1);
  REQUIRE(turn.tokens.size() == 30);
  int64_t n_read = n_new(turn);
  const Tokens history = joined(first, turn.tokens);

  double sum_kl = 0, sum_share = 0;
  int n_same_token = 0, n_same_bits = 0;
  const std::vector<std::string> questions{"weather", "king", "number", "garden", "engine"};
  for (const std::string& question : questions) {
    for (const char* other : {"river", "moon", "clock"})
      n_read += n_new(ask(*engine, text_of(*engine, other + question, 130), 4));
    Tokens asked = engine->tokenize(" And now tell me about the " + question + ".", false, false);
    const Tokens second = joined(history, asked);
    const Answer cached = ask(*engine, second, 1);
    // Of the answer the last token was drawn and not evaluated. A later question may share a
    // beginning with an earlier one.
    CHECK(cached.stats.n_cached_tokens >= static_cast<int64_t>(history.size()) - 1);
    CHECK(cached.stats.n_prompt_tokens == static_cast<int64_t>(second.size()));
    CHECK(has_read(*engine, n_read += n_new(cached)));

    const auto fresh = Engine::open(options);
    const Answer expected = ask(*fresh, second, 1);
    REQUIRE(expected.stats.n_cached_tokens == 0);
    sum_kl += divergence(expected.logprobs[0], cached.logprobs[0]);
    sum_share +=
        static_cast<double>(cached.stats.prompt_ns) / static_cast<double>(expected.stats.prompt_ns);
    n_same_token += cached.tokens == expected.tokens ? 1 : 0;
    n_same_bits += is_same(cached.logprobs[0], expected.logprobs[0]) ? 1 : 0;
  }
  const auto n = static_cast<double>(questions.size());
  std::printf(
      "prefix cache %s %s: mean KL %.7f, same token %d, same bits %d of %zu, time to the first "
      "token %.2f%% of that without\n",
      path.substr(path.rfind('/') + 1).c_str(), kv_type.c_str(), sum_kl / n, n_same_token,
      n_same_bits, questions.size(), 100 * sum_share / n);
  std::fflush(stdout);
  CHECK(sum_kl / n <= kl_limit);

  // What was read as a prompt has the same bits whether it is read again or not.
  const Answer again = ask(*engine, first, 30);
  CHECK(again.stats.n_cached_tokens == 999);
  CHECK(again.tokens == turn.tokens);
  for (size_t i = 0; i < turn.logprobs.size(); ++i)
    CHECK(is_same(again.logprobs[i], turn.logprobs[i]));
  CHECK(has_read(*engine, n_read + 1));
  CHECK(engine->stats().n_prefix_tokens > 5 * 1000);
}

}  // namespace

TEST_CASE("PrefixCache_ASecondTurnCostsItsNewTokensAndSaysTheSame") {
  struct Case {
    const char* file;
    double kl_limit;  // that of logits_golden_test.cpp
  };
  for (const Case& model : {Case{"SmolLM2-135M-Instruct.Q4_1.gguf", 0.0027},
                            Case{"gemma-3-270m-q4_k_m.gguf", 0.0035}}) {
    const auto path = olx::tests::models_dir() / model.file;
    if (!olx::tests::have(path)) continue;
    for (const char* kv_type : {"f16", "q8_0"})
      check_second_turns(path.string(), kv_type, model.kl_limit);
  }
}
