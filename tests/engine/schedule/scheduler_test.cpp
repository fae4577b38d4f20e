#include "engine/schedule/scheduler.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <stdexcept>

#include "engine/error.h"
#include "tests/support/catch.h"

using namespace olx::engine;

namespace {

constexpr int32_t kEnd = 99;      // ends an answer
constexpr int64_t kVocab = 100;

// Token id -> one letter; id 99 ends. The one called control is a control token spelled <|x|>.
class Letters final : public Tokenizer {
 public:
  explicit Letters(int32_t control = -1) : control_(control) {}
  std::vector<int32_t> encode(std::string_view text, const EncodeOptions&) const override {
    std::vector<int32_t> ids;
    for (char c : text) ids.push_back(c - 'a');
    return ids;
  }
  std::string token_bytes(int32_t id, bool with_special) const override {
    if (id == control_) return with_special ? "<|x|>" : "";
    return id == kEnd ? "" : std::string(1, static_cast<char>('a' + id % 26));
  }
  std::string decode(std::span<const int32_t> ids) const override {
    std::string text;
    for (int32_t id : ids) text += token_bytes(id, false);
    return text;
  }
  int32_t vocab_size() const override { return kVocab; }
  TokenKind kind(int32_t id) const override {
    return id == control_ ? TokenKind::kControl : TokenKind::kNormal;
  }
  std::string_view text(int32_t id) const override { return id == control_ ? "<|x|>" : ""; }
  std::optional<int32_t> find(std::string_view) const override { return std::nullopt; }
  std::optional<int32_t> bos() const override { return std::nullopt; }
  std::optional<int32_t> eos() const override { return kEnd; }
  bool adds_bos() const override { return false; }
  bool is_end_of_generation(int32_t id) const override { return id == kEnd; }

 private:
  int32_t control_;
};

// A network that predicts "the next letter", checks what it is asked, and fails when told to.
class FakeRunner final : public Runner {
 public:
  FakeRunner(int64_t n_ctx, int n_sequences, int n_batch) : n_ctx_(n_ctx), n_batch_(n_batch), cached_(static_cast<size_t>(n_sequences)) {}

  int64_t n_ctx() const override { return n_ctx_; }
  int n_sequences() const override { return static_cast<int>(cached_.size()); }
  int n_batch() const override { return n_batch_; }
  bool forward(std::span<const BatchToken> tokens, const std::atomic<bool>* cancel) override {
    REQUIRE_FALSE(tokens.empty());
    REQUIRE(tokens.size() <= static_cast<size_t>(n_batch_));
    batches.emplace_back(tokens.begin(), tokens.end());
    if (on_forward) on_forward();
    if (cancel != nullptr && *cancel) return false;
    if (n_failures > 0 && n_failures-- > 0) throw std::runtime_error("the device is on fire");
    logits_.clear();
    for (const BatchToken& token : tokens) {
      auto& cache = cached_[static_cast<size_t>(token.sequence)];
      REQUIRE(token.position == static_cast<int32_t>(cache.size()));
      REQUIRE(token.position < n_ctx_);
      cache.push_back(token.id);
      if (!token.wants_logits) continue;
      std::vector<float> logits(kVocab, 0.0f);
      logits[static_cast<size_t>(token.id == end_after ? kEnd : (token.id + 1) % 26)] = 10;
      if (spoil) spoil(token, logits);
      logits_.push_back(logits);
    }
    return true;
  }
  std::span<float> logits(int64_t i) override {
    ++n_whole_rows;
    return logits_.at(static_cast<size_t>(i));
  }
  int64_t n_candidates_max() const override { return n_offered; }
  bool forward_candidates(std::span<const BatchToken> tokens, int64_t n, const std::atomic<bool>* cancel) override {
    asked.push_back(n);
    return forward(tokens, cancel);
  }
  CandidateRow candidates(int64_t i) override {
    const std::vector<float>& logits = logits_.at(static_cast<size_t>(i));
    std::vector<Candidate> best;
    take_top_k(logits, static_cast<int>(asked.back()), best);
    best_logits_.assign(static_cast<size_t>(asked.back()), -INFINITY);
    best_ids_.assign(best_logits_.size(), -1);
    for (size_t j = 0; j < best.size(); ++j) {
      best_logits_[j] = best[j].logit;
      best_ids_[j] = best[j].id;
    }
    for (const float logit : logits)
      if (std::isnan(logit)) best_logits_[0] = logit;
    if (std::all_of(logits.begin(), logits.end(), [](float logit) { return logit == -INFINITY; })) best_logits_[0] = -INFINITY;
    return {best_logits_, best_ids_};
  }
  int64_t n_positions(int32_t sequence) const override { return static_cast<int64_t>(cached_[static_cast<size_t>(sequence)].size()); }
  bool reserve(int32_t, int64_t n_positions) override { return n_positions <= n_ctx_; }
  void truncate(int32_t sequence, int64_t n_positions) override { cached_[static_cast<size_t>(sequence)].resize(static_cast<size_t>(n_positions)); }

  int n_failures = 0;
  int32_t end_after = -1;
  std::function<void()> on_forward;
  std::function<void(const BatchToken&, std::vector<float>&)> spoil;
  std::vector<std::vector<BatchToken>> batches;
  int64_t n_offered = 0;        // n_candidates_max()
  std::vector<int64_t> asked;   // of candidates, step by step
  int n_whole_rows = 0;         // looked at

 private:
  int64_t n_ctx_;
  int n_batch_;
  std::vector<std::vector<int32_t>> cached_;
  std::vector<std::vector<float>> logits_;
  std::vector<float> best_logits_;
  std::vector<int32_t> best_ids_;
};

struct Bench {
  explicit Bench(int64_t n_ctx = 64, int n_sequences = 2, int n_batch = 8, int32_t control = -1)
      : letters(control),
        runner(n_ctx, n_sequences, n_batch),
        scheduler(runner, letters, [this] { return now_ns += 1000; }) {}

  std::shared_ptr<TokenStream::State> add(const std::string& prompt, int n_predict, std::vector<std::string> stop = {}) {
    GenerateRequest request;
    request.prompt_tokens = letters.encode(prompt, {});
    request.sampling.temperature = 0;
    request.n_predict = n_predict;
    request.stop = std::move(stop);
    return add(std::move(request));
  }
  std::shared_ptr<TokenStream::State> add(GenerateRequest request) {
    auto channel = std::make_shared<TokenStream::State>();
    scheduler.add(std::move(request), 0, channel);
    return channel;
  }
  void run() {
    for (int i = 0; i < 10'000 && scheduler.step(); ++i) {
    }
  }

  int64_t now_ns = 0;
  Letters letters;
  FakeRunner runner;
  Scheduler scheduler;
};

struct Answer {
  std::string text;
  TokenEvent last;
};
Answer collect(const std::shared_ptr<TokenStream::State>& channel) {
  Answer answer;
  for (const TokenEvent& event : channel->events) {
    REQUIRE(answer.last.done == DoneReason::kNone);  // nothing follows the last event
    answer.text += event.text;
    answer.last = event;
  }
  return answer;
}

}  // namespace

TEST_CASE("Scheduler_ShowsTheControlTokensThatAreMarks") {
  Bench bench(64, 2, 8, 5);  // the control token is where "f" would be
  GenerateRequest request;
  request.prompt_tokens = {0, 1, 2};
  request.sampling.temperature = 0;
  request.n_predict = 4;
  request.n_logprobs = 0;
  const auto plain = bench.add(request);
  request.marks = {"a mark with <|x|> in it"};
  const auto marked = bench.add(request);
  request.marks = {"<|x|"};
  const auto others = bench.add(request);
  bench.run();
  CHECK(collect(plain).text == "deg");
  CHECK(collect(marked).text == "de<|x|>g");
  CHECK(collect(others).text == "deg");
  std::string tokens;
  for (const TokenEvent& event : marked->events)
    for (const TokenLogprob& entry : event.logprobs) tokens += entry.token;
  CHECK(tokens == "de<|x|>g");
}

TEST_CASE("Scheduler_OneAnswerHasTextReasonAndCounts") {
  Bench bench;
  const auto channel = bench.add("abc", 5);
  bench.run();
  const Answer answer = collect(channel);
  CHECK(answer.text == "defgh");
  CHECK(answer.last.done == DoneReason::kLength);
  CHECK(answer.last.stats.n_prompt_tokens == 3);
  CHECK(answer.last.stats.n_generated_tokens == 5);
  CHECK(answer.last.stats.prompt_ns > 0);
  CHECK(answer.last.stats.generate_ns > 0);
}

TEST_CASE("Scheduler_SaysWhenTheFirstTextOfAnAnswerIsOut") {
  Bench bench;
  const auto longer = bench.add("abc", 5);
  int n_begun = 0;
  while (bench.scheduler.step()) {
    n_begun += bench.scheduler.has_begun_answer() ? 1 : 0;
    CHECK(bench.scheduler.has_begun_answer() == (collect(longer).text == "d"));
  }
  CHECK(n_begun == 1);
  const auto brief = bench.add("x", 1);  // at its end with it
  while (bench.scheduler.step()) CHECK_FALSE(bench.scheduler.has_begun_answer());
  CHECK(collect(brief).text == "y");
}

TEST_CASE("Scheduler_SequencesShareADecodeStep") {
  Bench bench;
  const auto first = bench.add("a", 10), second = bench.add("k", 10);
  bench.run();
  CHECK(collect(first).text == "bcdefghijk");
  CHECK(collect(second).text == "lmnopqrstu");
  int n_shared = 0;
  for (const auto& batch : bench.runner.batches) n_shared += batch.size() == 2 && batch[0].sequence != batch[1].sequence;
  CHECK(n_shared >= 9);
}

TEST_CASE("Scheduler_ALongPromptDoesNotHoldUpAShortAnswer") {
  Bench bench(200, 2, 8);
  const auto long_prompt = bench.add(std::string(150, 'a'), 1);
  bench.scheduler.step();
  const auto short_prompt = bench.add("x", 3);
  int n_steps = 0;
  while (collect(short_prompt).last.done == DoneReason::kNone && ++n_steps < 100) bench.scheduler.step();
  CHECK(n_steps <= 6);
  CHECK(collect(long_prompt).last.done == DoneReason::kNone);
  bench.run();
  CHECK(collect(long_prompt).text == "b");
}

TEST_CASE("Scheduler_StopStringsEndTokensAndZeroPredictions") {
  Bench bench;
  const auto stopped = bench.add("a", 20, {"ef"});
  bench.run();
  CHECK(collect(stopped).text == "bcd");
  CHECK(collect(stopped).last.done == DoneReason::kStop);
  bench.runner.end_after = 4;
  const auto ended = bench.add("a", 20);
  bench.run();
  CHECK(collect(ended).text == "bcde");
  CHECK(collect(ended).last.done == DoneReason::kStop);
  const auto none = bench.add("a", 0);
  bench.run();
  CHECK(collect(none).text.empty());
  CHECK(collect(none).last.done == DoneReason::kLength);
}

TEST_CASE("Scheduler_CancellingIsNoticedWhereverTheRequestIs") {
  Bench bench(200, 1, 8);
  const auto running = bench.add(std::string(100, 'a'), 50), queued = bench.add("x", 3);
  bench.scheduler.step();
  queued->is_cancelled = true;
  running->is_cancelled = true;  // in prefill: no further batch of it may run
  const size_t n_batches = bench.runner.batches.size();
  bench.run();
  CHECK(bench.runner.batches.size() == n_batches);
  CHECK(bench.scheduler.n_active() == 0);
  CHECK(bench.scheduler.n_queued() == 0);
  const auto decoding = bench.add("a", 50);
  for (int i = 0; i < 5; ++i) bench.scheduler.step();
  bench.runner.on_forward = [&] { decoding->is_cancelled = true; };  // while a step runs
  bench.run();
  CHECK(collect(decoding).last.done == DoneReason::kCancelled);
  bench.runner.on_forward = nullptr;
  const auto next = bench.add("a", 2);
  bench.run();
  CHECK(collect(next).text == "bc");
}

TEST_CASE("Scheduler_AFullContextIsShiftedOrEndsTheAnswer") {
  for (bool may_shift : {true, false}) {
    Bench bench(16, 1, 8);
    GenerateRequest request;
    request.prompt_tokens = bench.letters.encode("abcdefgh", {});
    request.sampling.temperature = 0;
    request.n_predict = 40;
    request.n_keep = 2;
    request.may_shift = may_shift;
    const auto channel = bench.add(request);
    bench.run();
    const Answer answer = collect(channel);
    CHECK(answer.last.done == DoneReason::kLength);
    if (may_shift) CHECK(answer.text.size() == 40);
    else CHECK(answer.text == "ijklmnopq");  // 8 of the prompt and 8 more are cached; the ninth is drawn from them
  }
}

TEST_CASE("Scheduler_AFailingStepEndsOnlyThoseInIt") {
  Bench bench(64, 1, 8);
  const auto first = bench.add("a", 5), second = bench.add("k", 3);
  bench.runner.n_failures = 1;
  bench.run();
  CHECK(collect(first).last.done == DoneReason::kError);
  CHECK(collect(first).last.error == "the device is on fire");
  CHECK(collect(second).text == "lmn");
}

TEST_CASE("Scheduler_MoreAnswersThanABatchHoldsTakeTurns") {
  Bench bench(64, 6, 4);
  std::vector<std::shared_ptr<TokenStream::State>> channels;
  for (int i = 0; i < 9; ++i) channels.push_back(bench.add(std::string(1, static_cast<char>('a' + i)), 4));
  bench.run();
  for (int i = 0; i < 9; ++i) {
    std::string expected;
    for (int k = 1; k <= 4; ++k) expected += static_cast<char>('a' + i + k);
    CHECK(collect(channels[static_cast<size_t>(i)]).text == expected);
  }
}

TEST_CASE("Scheduler_UnloadingTellsEveryRequest") {
  Bench bench(64, 1, 8);
  const auto active = bench.add("a", 50), queued = bench.add("b", 50);
  bench.scheduler.step();
  bench.scheduler.fail_all("the model was unloaded");
  CHECK(collect(active).last.error == "the model was unloaded");
  CHECK(collect(queued).last.error == "the model was unloaded");
}

TEST_CASE("Scheduler_AnAnswerWaitsForNoMoreOfAPromptThanAStepHasTimeFor") {
  Bench bench(4096, 2, 512);
  constexpr int64_t kNsPerToken = 5'000'000;  // so that 20 tokens take kMixedStepNs
  bench.runner.on_forward = [&] { bench.now_ns += kNsPerToken * static_cast<int64_t>(bench.runner.batches.back().size()); };
  const auto answer = bench.add("a", 400);
  bench.scheduler.step();
  const auto prompt = bench.add(std::string(2000, 'b'), 1);
  bench.run();
  CHECK(collect(prompt).text == "c");
  CHECK(collect(answer).last.stats.n_generated_tokens == 400);
  std::vector<size_t> mixed;
  for (const auto& batch : bench.runner.batches)
    if (batch.size() > 1 && batch[0].sequence != batch.back().sequence) mixed.push_back(batch.size());
  REQUIRE(mixed.size() > 60);
  for (size_t i = 4; i + 1 < mixed.size(); ++i) CHECK((mixed[i] >= 16 && mixed[i] <= 24));
  bench.runner.on_forward = nullptr;  // a fast network reads more at a time
  bench.runner.batches.clear();
  const auto again = bench.add("a", 400), long_one = bench.add(std::string(3000, 'd'), 1);
  bench.run();
  size_t largest = 0;
  for (const auto& batch : bench.runner.batches)
    if (batch[0].sequence != batch.back().sequence) largest = std::max(largest, batch.size());
  CHECK(largest == 512);
}

TEST_CASE("FitPrompt_CutsTheMiddleAndSaysHowMuch") {
  std::vector<int32_t> tokens(100);
  for (size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<int32_t>(i);
  CHECK(fit_prompt(tokens, 101, 4, true).tokens == tokens);
  const FittedPrompt cut = fit_prompt(tokens, 64, 4, true);
  CHECK(cut.tokens.size() == 64 - 30);
  CHECK(cut.n_truncated == 66);
  CHECK(cut.tokens[3] == 3);
  CHECK(cut.tokens.back() == 99);
  CHECK(static_cast<int64_t>(fit_prompt(tokens, 100, -1, true).tokens.size()) < 100);
  CHECK(fit_prompt(tokens, 4, 4, true).tokens.size() < 4);
  CHECK_THROWS_AS(fit_prompt(tokens, 100, 4, false), EngineError);
}

TEST_CASE("TokenStream_DroppingItCancelsAndReadyIsCalledForWaitingEvents") {
  auto state = std::make_shared<TokenStream::State>();
  int n_calls = 0;
  {
    TokenStream stream(state);
    state->push({.text = "x"});
    stream.on_ready([&] { ++n_calls; });
    CHECK(n_calls == 1);
    state->push({.text = "y"});
    CHECK(n_calls == 2);
    CHECK(stream.next().text == "x");
    CHECK(stream.poll()->text == "y");
    CHECK_FALSE(stream.poll().has_value());
  }
  CHECK(state->is_cancelled);
  state->push({.text = "z"});
  CHECK(n_calls == 2);
}

TEST_CASE("Scheduler_LogitsThatAreNoNumbersEndTheirAnswerAlone", "[T-92]") {
  const auto all = [](float value) { return [value](std::vector<float>& logits) { logits.assign(logits.size(), value); }; };
  const auto one = [](float value) { return [value](std::vector<float>& logits) { logits[7] = value; }; };
  const std::function<void(std::vector<float>&)> faults[] = {all(NAN), all(INFINITY), all(-INFINITY), one(NAN), one(INFINITY)};
  const int64_t n_offered = GENERATE(0, 128);
  for (const auto& fault : faults) {
    for (const float temperature : {0.0f, 1.0f}) {
      Bench bench;
      bench.runner.n_offered = n_offered;
      bench.runner.spoil = [&](const BatchToken& token, std::vector<float>& logits) {
        if (token.sequence == 0 && token.position >= 2) fault(logits);
      };
      GenerateRequest request;
      request.prompt_tokens = bench.letters.encode("ab", {});
      request.sampling.temperature = temperature;
      request.sampling.top_k = 1;
      request.n_predict = 5;
      request.n_logprobs = n_offered > 0 ? -1 : 1;  // which needs all logits
      const auto spoiled = bench.add(std::move(request)), sound = bench.add("fg", 3);
      bench.run();
      const Answer broken = collect(spoiled), good = collect(sound);
      CHECK(broken.last.done == DoneReason::kError);
      CHECK(broken.last.error.find("no numbers") != std::string::npos);
      CHECK(broken.text == "c");
      CHECK(good.text == "hij");
      CHECK(good.last.done == DoneReason::kLength);
      CHECK(bench.runner.n_positions(0) == 0);
    }
  }
}

namespace {

// Logits that leave more than one token to be drawn, some of them equal.
void disturb(const BatchToken& token, std::vector<float>& logits) {
  uint32_t state = static_cast<uint32_t>(token.position) * 2654435761u + static_cast<uint32_t>(token.id);
  for (float& logit : logits) {
    state = state * 1664525u + 1013904223u;
    logit = static_cast<float>(state >> 28) / 4;
  }
  logits[kEnd] = -INFINITY;
}

struct Drawn {
  std::string text;
  std::vector<int64_t> asked;
  int n_whole_rows = 0;
};
Drawn draw_text(GenerateRequest request, int64_t n_offered) {
  Bench bench;
  bench.runner.n_offered = n_offered;
  bench.runner.spoil = disturb;
  request.prompt_tokens = {0, 1, 2};
  request.n_predict = 40;
  const auto channel = bench.add(std::move(request));
  bench.run();
  const Answer answer = collect(channel);
  CHECK(answer.last.done == DoneReason::kLength);
  return {answer.text, bench.runner.asked, bench.runner.n_whole_rows};
}

}  // namespace

TEST_CASE("Scheduler_DrawsTheSameFromTheLargestLogitsAsFromAll") {
  for (const float temperature : {0.0f, 0.7f, 1.5f})
    for (const int top_k : {1, 7, 40, 128}) {
      GenerateRequest request;
      request.sampling.temperature = temperature;
      request.sampling.top_k = top_k;
      request.sampling.typical_p = top_k == 40 ? 0.9f : 1.0f;
      request.sampling.min_p = top_k == 7 ? 0.05f : 0.0f;
      request.sampling.seed = 5;
      const Drawn all = draw_text(request, 0), few = draw_text(request, 128);
      INFO(temperature << " " << top_k);
      CHECK(few.text == all.text);
      CHECK(all.asked.empty());
      CHECK(few.n_whole_rows == 0);
      REQUIRE_FALSE(few.asked.empty());
      for (const int64_t n : few.asked) CHECK(n == (temperature == 0 ? 1 : top_k));
    }
}

TEST_CASE("Scheduler_LooksAtAllLogitsWhereTheLargestAreNotEnough") {
  const std::function<void(GenerateRequest&)> wishes[] = {
      [](GenerateRequest& r) { r.sampling.top_k = 0; },
      [](GenerateRequest& r) { r.sampling.top_k = 129; },
      [](GenerateRequest& r) { r.sampling.mirostat = 2; },
      [](GenerateRequest& r) { r.sampling.repeat_penalty = 1.1f; },
      [](GenerateRequest& r) { r.sampling.presence_penalty = 0.5f; },
      [](GenerateRequest& r) { r.n_logprobs = 0; },
  };
  for (const auto& wish : wishes) {
    GenerateRequest request;
    request.sampling.temperature = 1;
    request.sampling.seed = 5;
    wish(request);
    const Drawn all = draw_text(request, 0), offered = draw_text(request, 128);
    CHECK(offered.text == all.text);
    CHECK(offered.asked.empty());
  }
  // Beside one that does, each looks at what it needs.
  Bench bench;
  bench.runner.n_offered = 128;
  GenerateRequest request;
  request.prompt_tokens = {0, 1, 2};
  request.sampling.temperature = 0;
  request.n_predict = 5;
  const auto greedy = bench.add(request);
  request.n_logprobs = 1;
  const auto with_logprobs = bench.add(request);
  bench.run();
  CHECK(collect(greedy).text == collect(with_logprobs).text);
  CHECK_FALSE(bench.runner.asked.empty());
  CHECK(bench.runner.n_whole_rows == 2 * 5);  // to draw from, and to tell probabilities
}
