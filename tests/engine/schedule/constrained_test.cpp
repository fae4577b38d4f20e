// The scheduler with a grammar: fast path, masking, ends and errors, with a network that says what the test wants.
#include <cmath>

#include "engine/grammar/compile.h"
#include "engine/schedule/scheduler.h"
#include "tests/engine/grammar/grammar_support.h"
#include "tests/support/catch.h"

using namespace olx::engine;
using namespace olx::tests;

namespace {

// Always the same logits, as many sequences as asked.
class ConstantRunner final : public Runner {
 public:
  explicit ConstantRunner(std::vector<float> logits) : wanted(std::move(logits)), n_cached_(2) {}
  int64_t n_ctx() const override { return 64; }
  int n_sequences() const override { return 2; }
  int n_batch() const override { return 8; }
  bool forward(std::span<const BatchToken> tokens, const std::atomic<bool>*) override {
    rows_.clear();
    for (const BatchToken& token : tokens) {
      ++n_cached_[static_cast<size_t>(token.sequence)];
      if (token.wants_logits) rows_.push_back(wanted);
    }
    return true;
  }
  std::span<float> logits(int64_t i) override { return rows_.at(static_cast<size_t>(i)); }
  int64_t n_positions(int32_t sequence) const override { return n_cached_[static_cast<size_t>(sequence)]; }
  bool reserve(int32_t, int64_t) override { return true; }
  void truncate(int32_t sequence, int64_t n_positions) override { n_cached_[static_cast<size_t>(sequence)] = n_positions; }

  std::vector<float> wanted;

 private:
  std::vector<int64_t> n_cached_;
  std::vector<std::vector<float>> rows_;
};

struct Answer {
  std::string text;
  TokenEvent last;
  std::vector<TokenLogprob> logprobs;
};

// One answer with the letters a to z as tokens; `likes` are wished for, the best first.
Answer answer_to(const OutputConstraint& wanted, const std::string& likes, GenerateRequest request, const ListedTokens& tokens, std::vector<float> logits = {}) {
  if (logits.empty()) logits.assign(static_cast<size_t>(tokens.vocab_size()), 0.0f);
  float value = 20;
  for (char c : likes) logits[static_cast<size_t>(*tokens.find(std::string(1, c)))] = value--;
  ConstantRunner runner(logits);
  Scheduler scheduler(runner, tokens, [] { return int64_t{0}; });
  const TokenTrie trie(tokens);
  request.prompt_tokens = {0, 1};
  if (request.n_predict < 0) request.n_predict = 40;
  auto channel = std::make_shared<TokenStream::State>();
  scheduler.add(std::move(request), 0, channel, std::make_unique<TokenConstraint>(compile_constraint(wanted), trie, tokens));
  for (int i = 0; i < 1000 && scheduler.step(); ++i) {
  }
  Answer answer;
  for (const TokenEvent& event : channel->events) {
    REQUIRE(answer.last.done == DoneReason::kNone);
    answer.text += event.text;
    answer.logprobs.insert(answer.logprobs.end(), event.logprobs.begin(), event.logprobs.end());
    answer.last = event;
  }
  return answer;
}

ListedTokens letters() {
  std::vector<std::string> texts;
  for (char c = 'a'; c <= 'z'; ++c) texts.emplace_back(1, c);
  return ListedTokens(texts);
}

GenerateRequest greedy() {
  GenerateRequest request;
  request.sampling.temperature = 0;
  return request;
}

}  // namespace

TEST_CASE("Constrained_TheBestAllowedTokenComes") {
  const Answer answer = answer_to(gbnf("root ::= \"x\" [c-f]{2} \"y\""), "baedc", greedy(), letters());
  CHECK(answer.text == "xeey");
  // The grammar is complete: the answer ends without waiting for the model to end it.
  CHECK(answer.last.done == DoneReason::kStop);
  CHECK(answer.last.stats.n_generated_tokens == 4);
}

TEST_CASE("Constrained_TheModelEndsTheAnswerWhereTheGrammarMayEnd") {
  const ListedTokens tokens = letters();
  std::vector<float> logits(static_cast<size_t>(tokens.vocab_size()), 0.0f);
  logits[static_cast<size_t>(tokens.end())] = 30;
  const Answer answer = answer_to(gbnf("root ::= [a-c]{3} [a-c]*"), "b", greedy(), tokens, logits);
  CHECK(answer.text == "bbb");
  CHECK(answer.last.done == DoneReason::kStop);
  GenerateRequest endless = greedy();
  endless.ignore_eos = true;  // under a grammar the end of generation is no text that could be left in the answer
  CHECK(answer_to(gbnf("root ::= [a-c]{3} [a-c]*"), "b", endless, tokens, logits).text == "bbb");
}

TEST_CASE("Constrained_ControlTokensNeverCome") {
  const ListedTokens tokens = letters();
  std::vector<float> logits(static_cast<size_t>(tokens.vocab_size()), 0.0f);
  logits[static_cast<size_t>(tokens.mark())] = 30;
  const OutputConstraint wanted = gbnf("root ::= [a-z]{2} (\"<mark>\" \"q\")?");
  const Answer answer = answer_to(wanted, "b", greedy(), tokens, logits);
  CHECK(answer.text == "bb");
  CHECK(answer.last.done != DoneReason::kError);
  // As a mark it is text that the grammar sees.
  GenerateRequest marked = greedy();
  marked.marks = {"<mark>"};
  CHECK(answer_to(wanted, "b", marked, tokens, logits).last.stats.n_generated_tokens == 4);
}

// T-29: never a token from an empty set.
TEST_CASE("Constrained_T29_NothingAllowedEndsWithAnError") {
  const Answer answer = answer_to(gbnf("root ::= \"ab\" \"!\""), "c", greedy(), letters());
  CHECK(answer.text == "ab");
  CHECK(answer.last.done == DoneReason::kError);
  CHECK(answer.last.error.find("no token of the model continues the answer") != std::string::npos);
  // Logits that leave nothing to choose among the allowed.
  const ListedTokens tokens = letters();
  std::vector<float> logits(static_cast<size_t>(tokens.vocab_size()), -INFINITY);
  logits[3] = 1;
  for (float temperature : {0.0f, 1.0f}) {
    GenerateRequest request;
    request.sampling.temperature = temperature;
    CHECK(answer_to(gbnf("root ::= \"ab\""), "", request, tokens, logits).last.done == DoneReason::kError);
  }
}

TEST_CASE("Constrained_LogprobsAreThoseOfTheRawDistribution") {
  GenerateRequest request = greedy();
  request.n_logprobs = 2;
  const Answer answer = answer_to(gbnf("root ::= \"x\""), "b", request, letters());
  REQUIRE(answer.logprobs.size() == 1);
  CHECK(answer.logprobs[0].token == "x");
  CHECK(answer.logprobs[0].logprob == Approx(-20).margin(0.001));  // 27 tokens at 0, one at 20
  CHECK(answer.logprobs[0].top[0].token == "b");
}

// Without filters, drawing first and masking after a refusal is the same distribution as masking at once.
TEST_CASE("Constrained_TheDistributionIsTheMaskedOne") {
  const ListedTokens tokens = letters();
  std::vector<float> logits(static_cast<size_t>(tokens.vocab_size()), -INFINITY);
  logits[0] = std::log(0.5f);  // a: not allowed
  logits[1] = std::log(0.3f);
  logits[2] = std::log(0.15f);
  logits[3] = std::log(0.05f);
  std::array<int, 4> counts{};
  constexpr int kRuns = 4000;
  for (int seed = 0; seed < kRuns; ++seed) {
    GenerateRequest request;
    request.sampling = {.temperature = 1, .top_k = 0, .top_p = 1, .seed = seed};
    const Answer answer = answer_to(gbnf("root ::= [b-d]"), "", request, tokens, logits);
    REQUIRE(answer.text.size() == 1);
    ++counts[static_cast<size_t>(answer.text[0] - 'a')];
  }
  CHECK(counts[0] == 0);
  CHECK(std::abs(counts[1] - 0.6 * kRuns) < 160);  // five standard deviations
  CHECK(std::abs(counts[2] - 0.3 * kRuns) < 150);
  CHECK(std::abs(counts[3] - 0.1 * kRuns) < 100);
}

TEST_CASE("Constrained_EveryWayToSampleKeepsToTheGrammar") {
  const ListedTokens tokens = letters();
  for (int mirostat : {0, 1, 2})
    for (int top_k : {0, 1, 40}) {
      GenerateRequest request;
      request.sampling = {.temperature = 1.5f, .top_k = top_k, .min_p = 0.05f, .typical_p = 0.9f, .repeat_penalty = 1.3f, .mirostat = mirostat, .seed = 5};
      const Answer answer = answer_to(gbnf("root ::= \"x\" [c-f]{5} \"y\""), "abcde", request, tokens);
      CHECK(answer.last.done == DoneReason::kStop);
      CHECK(answer.text.size() == 7);
      CHECK(matches(gbnf("root ::= \"x\" [c-f]{5} \"y\""), answer.text));
    }
}
