// Speculation in the scheduler: whatever is guessed, however it is asked for, the answer is the one
// without it. The network here looks at all it has cached, so one token that should not be there,
// or is missing, changes everything that follows.
#include "engine/schedule/speculate.h"

#include <stdexcept>

#include "engine/grammar/compile.h"
#include "engine/schedule/scheduler.h"
#include "tests/engine/grammar/grammar_support.h"
#include "tests/support/catch.h"

using namespace olx::engine;
using namespace olx::tests;

namespace {

constexpr int32_t kLetters = 26;

uint64_t mix(uint64_t h, uint64_t x) {
  h = (h ^ x) * 0x9e3779b97f4a7c15ull;
  return h ^ (h >> 29);
}

// Mostly continues two tokens as `habit` says, so that texts repeat themselves; how surely, and
// what else may come, depends on every token before.
class HabitRunner final : public Runner {
 public:
  struct Shape {
    int64_t n_ctx = 96;
    int n_sequences = 3, n_batch = 32, n_logits = 16;
    uint64_t habit = 1;
    double noise = 4;
    int64_t step_ns = 1000,
            column_ns = 0;  // what a step takes: with one column, and more for each further one
  };
  HabitRunner(Shape shape, int32_t vocab_size)
      : shape_(shape), vocab_size_(vocab_size), cached_(static_cast<size_t>(shape.n_sequences)) {}

  int64_t n_ctx() const override { return shape_.n_ctx; }
  int n_sequences() const override { return shape_.n_sequences; }
  int n_batch() const override { return shape_.n_batch; }
  int n_logits() const override { return shape_.n_logits; }
  bool forward(std::span<const BatchToken> tokens, const std::atomic<bool>* cancel) override {
    REQUIRE_FALSE(tokens.empty());
    REQUIRE(tokens.size() <= static_cast<size_t>(shape_.n_batch));
    ++n_forwards;
    if (now_ns != nullptr)
      *now_ns += shape_.step_ns + shape_.column_ns * (static_cast<int64_t>(tokens.size()) - 1);
    if (on_forward) on_forward(tokens);
    if (cancel != nullptr && *cancel) return false;
    if (fails_at == n_forwards) throw std::runtime_error("the device is on fire");
    rows_.clear();
    for (const BatchToken& token : tokens) {
      auto& cache = cached_[static_cast<size_t>(token.sequence)];
      REQUIRE(token.position == static_cast<int32_t>(cache.size()));
      REQUIRE(token.position < shape_.n_ctx);
      cache.push_back(token.id);
      if (token.wants_logits) rows_.push_back(logits_of(cache));
    }
    REQUIRE(rows_.size() <= static_cast<size_t>(shape_.n_logits));
    return true;
  }
  std::span<float> logits(int64_t i) override { return rows_.at(static_cast<size_t>(i)); }
  int64_t n_positions(int32_t sequence) const override {
    return static_cast<int64_t>(cached_[static_cast<size_t>(sequence)].size());
  }
  bool reserve(int32_t, int64_t n_positions) override { return n_positions <= shape_.n_ctx; }
  void truncate(int32_t sequence, int64_t n_positions) override {
    auto& cache = cached_[static_cast<size_t>(sequence)];
    REQUIRE(n_positions <= static_cast<int64_t>(cache.size()));
    cache.resize(static_cast<size_t>(n_positions));
  }

  int64_t n_forwards = 0, fails_at = -1;
  int64_t* now_ns = nullptr;  // the clock that a step moves on
  std::function<void(std::span<const BatchToken>)> on_forward;

 private:
  std::vector<float> logits_of(const std::vector<int32_t>& cache) const {
    uint64_t all = 0;
    for (int32_t id : cache) all = mix(all, static_cast<uint64_t>(id));
    const int32_t last = cache.back(), before = cache.size() > 1 ? cache[cache.size() - 2] : 0;
    std::vector<float> logits(static_cast<size_t>(vocab_size_), -4.0f);
    for (int32_t id = 0; id < kLetters; ++id)
      logits[static_cast<size_t>(id)] = static_cast<float>(
          static_cast<double>(mix(all, static_cast<uint64_t>(id)) % 1000) / 1000 * shape_.noise);
    const uint64_t next =
        mix(mix(shape_.habit, static_cast<uint64_t>(before / 7)), static_cast<uint64_t>(last)) %
        kLetters;
    logits[static_cast<size_t>(next)] += 4.0f;
    return logits;
  }

  Shape shape_;
  int32_t vocab_size_;
  std::vector<std::vector<int32_t>> cached_;
  std::vector<std::vector<float>> rows_;
};

ListedTokens letters() {
  std::vector<std::string> texts;
  for (char c = 'a'; c <= 'z'; ++c) texts.emplace_back(1, c);
  return ListedTokens(texts);
}

struct Answer {
  std::vector<int32_t> tokens;
  std::string text;
  std::vector<TokenLogprob> logprobs;
  TokenEvent last;
};

struct Run {
  std::vector<Answer> answers;
  int64_t n_forwards = 0;
  int64_t n_drafted = 0, n_accepted = 0;
  int64_t ns = 0;
};

// What a test varies.
struct Setting {
  HabitRunner::Shape shape;
  std::vector<GenerateRequest> requests;
  std::string grammar;  // of all requests
  HabitRunner::Shape draft_shape;
  bool has_draft_model = false;
  int64_t draft_fails_at = -1;
};

Run run(const Setting& setting, SpeculateMode mode) {
  const ListedTokens tokens = letters();
  const TokenTrie trie(tokens);
  HabitRunner runner(setting.shape, tokens.vocab_size()),
      draft_runner(setting.draft_shape, tokens.vocab_size());
  draft_runner.fails_at = setting.draft_fails_at;
  int64_t now_ns = 0;
  runner.now_ns = draft_runner.now_ns = &now_ns;
  const auto clock = [&now_ns] { return now_ns; };
  DraftModel draft(draft_runner, tokens.vocab_size(), clock);
  Scheduler scheduler(runner, tokens, clock, mode);
  if (setting.has_draft_model) scheduler.set_draft_model(&draft);
  std::vector<std::shared_ptr<TokenStream::State>> channels;
  for (const GenerateRequest& request : setting.requests) {
    channels.push_back(std::make_shared<TokenStream::State>());
    std::unique_ptr<TokenConstraint> constraint;
    if (!setting.grammar.empty())
      constraint = std::make_unique<TokenConstraint>(compile_constraint(gbnf(setting.grammar)),
                                                     trie, tokens);
    scheduler.add(request, 0, channels.back(), std::move(constraint));
  }
  for (int i = 0; i < 20'000 && scheduler.step(); ++i) {
  }
  Run result;
  for (const auto& channel : channels) {
    Answer answer;
    for (const TokenEvent& event : channel->events) {
      REQUIRE(answer.last.done == DoneReason::kNone);
      answer.text += event.text;
      answer.tokens.insert(answer.tokens.end(), event.tokens.begin(), event.tokens.end());
      answer.logprobs.insert(answer.logprobs.end(), event.logprobs.begin(), event.logprobs.end());
      answer.last = event;
    }
    REQUIRE(answer.last.done != DoneReason::kNone);
    result.answers.push_back(std::move(answer));
  }
  result.n_forwards = runner.n_forwards;
  result.ns = now_ns;
  result.n_drafted = scheduler.n_drafted_tokens();
  result.n_accepted = scheduler.n_accepted_tokens();
  return result;
}

void check_same(const Run& a, const Run& b) {
  REQUIRE(a.answers.size() == b.answers.size());
  for (size_t i = 0; i < a.answers.size(); ++i) {
    INFO("answer " << i);
    CHECK(a.answers[i].text == b.answers[i].text);
    CHECK(a.answers[i].tokens == b.answers[i].tokens);
    CHECK(a.answers[i].last.done == b.answers[i].last.done);
    CHECK(a.answers[i].last.error == b.answers[i].last.error);
    CHECK(a.answers[i].last.stats.n_generated_tokens == b.answers[i].last.stats.n_generated_tokens);
    REQUIRE(a.answers[i].logprobs.size() == b.answers[i].logprobs.size());
    for (size_t k = 0; k < a.answers[i].logprobs.size(); ++k) {
      CHECK(a.answers[i].logprobs[k].id == b.answers[i].logprobs[k].id);
      CHECK(a.answers[i].logprobs[k].logprob == b.answers[i].logprobs[k].logprob);
    }
  }
}

// The setting without speculation, and with it in both modes; the runs must be the same but for the
// steps they took.
Run check_setting(const Setting& setting) {
  const Run plain = run(setting, SpeculateMode::kOff);
  CHECK(plain.n_drafted == 0);
  check_same(plain, run(setting, SpeculateMode::kAdaptive));
  Run always = run(setting, SpeculateMode::kAlways);
  check_same(plain, always);
  CHECK(always.n_drafted > 0);
  CHECK(always.n_accepted <= always.n_drafted);
  CHECK(always.n_forwards <= plain.n_forwards);
  int64_t n_drafted = 0, n_accepted = 0;
  for (const Answer& answer : always.answers) {
    n_drafted += answer.last.stats.n_drafted_tokens;
    n_accepted += answer.last.stats.n_accepted_tokens;
  }
  CHECK(n_drafted == always.n_drafted);
  CHECK(n_accepted == always.n_accepted);
  return always;
}

GenerateRequest request(std::string_view prompt, int n_predict,
                        SamplingOptions sampling = {.temperature = 0}) {
  GenerateRequest made;
  for (char c : prompt) made.prompt_tokens.push_back(c - 'a');
  made.n_predict = n_predict;
  made.sampling = sampling;
  return made;
}

// A text that has begun to run in a circle, with nothing but a habit (noise 0.1).
std::string circle() {
  Setting setting;
  setting.shape = {.n_ctx = 400, .noise = 0.1};
  setting.requests = {request("abc", 80)};
  return "abc" + run(setting, SpeculateMode::kOff).answers[0].text;
}

}  // namespace

TEST_CASE("Speculate_AnswersAreTheSameForEveryWayToSample") {
  const SamplingOptions ways[] = {
      {.temperature = 0},
      {.temperature = 0,
       .repeat_penalty = 1.2f,
       .presence_penalty = 0.5f,
       .frequency_penalty = 0.3f},
      {.temperature = 0.8f, .seed = 1},
      {.temperature = 1.5f, .top_k = 0, .top_p = 1, .seed = 2},
      {.temperature = 0.7f, .top_k = 5, .min_p = 0.1f, .typical_p = 0.8f, .seed = 3},
      {.temperature = 0.9f, .repeat_last_n = -1, .repeat_penalty = 1.1f, .seed = 4},
      {.temperature = 0.9f, .mirostat = 1, .seed = 5},
      {.temperature = 0.9f, .mirostat = 2, .seed = 6},
  };
  int64_t n_accepted = 0;
  for (size_t i = 0; i < std::size(ways); ++i)
    for (const uint64_t habit : {1, 2, 3}) {
      INFO("way " << i << ", habit " << habit);
      Setting setting;
      setting.shape = {.n_ctx = 400, .habit = habit};
      setting.requests = {request("abcabcabc", 300, ways[i])};
      n_accepted += check_setting(setting).n_accepted;
    }
  CHECK(n_accepted > 500);
}

TEST_CASE("Speculate_TakesFewerStepsWhereTheTextRepeats") {
  Setting setting;
  setting.shape = {.n_ctx = 400,
                   .noise = 0.1};  // a habit and nothing else: the text runs in a circle
  setting.requests = {request("abc", 300)};
  const Run plain = run(setting, SpeculateMode::kOff),
            fast = run(setting, SpeculateMode::kAdaptive);
  check_same(plain, fast);
  CHECK(fast.n_forwards * 5 < plain.n_forwards);
  CHECK(fast.answers[0].last.stats.n_accepted_tokens > 200);
}

TEST_CASE("Speculate_AnswersSideBySideAreTheSame") {
  for (const int n_batch : {3, 8, 32})
    for (const int n_logits : {3, 7, 16}) {
      INFO("batch of " << n_batch << ", " << n_logits << " rows of logits");
      Setting setting;
      setting.shape = {.n_ctx = 200, .n_batch = n_batch, .n_logits = n_logits, .noise = 2};
      for (int i = 0; i < 7; ++i)
        setting.requests.push_back(request(i % 2 == 0 ? "abcabcab" : "xyzzyxyzzyxyzzyx",
                                           20 + 25 * i, {.temperature = i % 3 * 0.6f, .seed = i}));
      const Run plain = run(setting, SpeculateMode::kOff);
      check_same(plain, run(setting, SpeculateMode::kAlways));
      check_same(plain, run(setting, SpeculateMode::kAdaptive));
    }
}

TEST_CASE("Speculate_EndsWhereTheAnswerEnds") {
  for (int n_predict = 1; n_predict < 40; n_predict += 3) {
    Setting setting;
    setting.shape = {.n_ctx = 200, .noise = 0.1};
    setting.requests = {request(circle(), n_predict), request(circle(), n_predict)};
    INFO(n_predict << " tokens");
    const Run plain = run(setting, SpeculateMode::kOff);
    check_same(plain, run(setting, SpeculateMode::kAlways));
    CHECK(plain.answers[0].last.done == DoneReason::kLength);
    if (n_predict < 10) continue;
    // A stop string somewhere in the middle of what is verified together.
    const std::string& text = plain.answers[0].text;
    setting.requests[0].stop = {text.substr(text.size() - 4, 3)};
    check_setting(setting);
  }
}

TEST_CASE("Speculate_AFullContextShiftsOrEndsAsWithout") {
  for (const int64_t n_ctx : {24, 31, 64})
    for (const bool may_shift : {true, false}) {
      Setting setting;
      setting.shape = {.n_ctx = n_ctx, .noise = 1};
      setting.requests = {request("abcabcabc", 200),
                          request("abcabcabc", 200, {.temperature = 0.7f, .seed = 9})};
      for (GenerateRequest& one : setting.requests) one.may_shift = may_shift;
      INFO("context of " << n_ctx << ", shifts: " << may_shift);
      const Run plain = run(setting, SpeculateMode::kOff),
                always = run(setting, SpeculateMode::kAlways);
      check_same(plain, always);
      check_same(plain, run(setting, SpeculateMode::kAdaptive));
      if (may_shift) CHECK(always.n_accepted > 0);
    }
}

TEST_CASE("Speculate_LogprobsAndGrammarsAreTheSame") {
  Setting setting;
  setting.shape = {.n_ctx = 400};
  setting.requests = {request("abcabcabc", 120, {.temperature = 0.8f, .seed = 3}),
                      request("abcabcabc", 120)};
  for (GenerateRequest& one : setting.requests) one.n_logprobs = 3;
  CHECK(check_setting(setting).answers[0].logprobs.size() == 120);
  for (const char* grammar :
       {"root ::= (\"ab\" | \"ba\" | \"abc\" | [d-k] [a-f]){10,30}", "root ::= ([a-m] [n-z]){20}",
        "root ::= \"abcabcabcabcabcabcabd\" [a-z]*"}) {
    INFO(grammar);
    setting.grammar = grammar;
    check_setting(setting);
  }
}

TEST_CASE("Speculate_TheNextTurnFindsWhatTheAnswerLeft") {
  const ListedTokens tokens = letters();
  std::vector<Answer> answers[2];
  int64_t n_cached[2] = {};
  for (const bool speculates : {false, true}) {
    HabitRunner runner({.n_ctx = 200, .n_sequences = 1, .noise = 1}, tokens.vocab_size());
    int64_t now_ns = 0;
    Scheduler scheduler(
        runner, tokens, [&] { return now_ns += 1000; },
        speculates ? SpeculateMode::kAlways : SpeculateMode::kOff);
    GenerateRequest next = request("abcabcabc", 40);
    for (int turn = 0; turn < 3; ++turn) {
      auto channel = std::make_shared<TokenStream::State>();
      scheduler.add(next, 0, channel);
      while (scheduler.step()) {
      }
      Answer answer;
      for (const TokenEvent& event : channel->events) {
        answer.tokens.insert(answer.tokens.end(), event.tokens.begin(), event.tokens.end());
        answer.last = event;
      }
      n_cached[speculates] += answer.last.stats.n_cached_tokens;
      next.prompt_tokens.insert(next.prompt_tokens.end(), answer.tokens.begin(),
                                answer.tokens.end());
      next.prompt_tokens.push_back(turn);
      answers[speculates].push_back(answer);
    }
  }
  for (size_t i = 0; i < 3; ++i) CHECK(answers[0][i].tokens == answers[1][i].tokens);
  CHECK(n_cached[0] == n_cached[1]);
}

TEST_CASE("Speculate_ARequestMayHaveLessOrNone") {
  Setting setting;
  setting.shape = {.n_ctx = 400, .noise = 0.1};
  setting.requests = {request("abcabcabc", 100)};
  setting.requests[0].n_draft_max = 0;
  const Run none = run(setting, SpeculateMode::kAlways);
  CHECK(none.n_drafted == 0);
  setting.requests[0].n_draft_max = 2;
  const Run two = run(setting, SpeculateMode::kAlways);
  check_same(none, two);
  CHECK(two.n_drafted > 0);
  CHECK(two.n_forwards * 3 >= 100);
}

TEST_CASE("Speculate_CancelledAndFailedStepsLeaveNothingBehind") {
  const ListedTokens tokens = letters();
  for (int at = 2; at < 12; ++at)
    for (const bool fails : {false, true}) {
      HabitRunner runner({.n_ctx = 200, .n_sequences = 1, .noise = 0.1}, tokens.vocab_size());
      int64_t now_ns = 0;
      Scheduler scheduler(
          runner, tokens, [&] { return now_ns += 1000; }, SpeculateMode::kAlways);
      auto first = std::make_shared<TokenStream::State>(),
           second = std::make_shared<TokenStream::State>();
      if (fails)
        runner.fails_at = at;
      else
        runner.on_forward = [&](std::span<const BatchToken>) {
          if (runner.n_forwards == at) first->is_cancelled = true;
        };
      scheduler.add(request("abcabcabc", 150), 0, first);
      scheduler.add(request("abcabcabc", 60), 0, second);
      while (scheduler.step()) {
      }
      CHECK(first->events.back().done == (fails ? DoneReason::kError : DoneReason::kCancelled));
      std::string text;
      for (const TokenEvent& event : second->events) text += event.text;
      Setting alone;
      alone.shape = {.n_ctx = 200, .n_sequences = 1, .noise = 0.1};
      alone.requests = {request("abcabcabc", 60)};
      CHECK(text == run(alone, SpeculateMode::kOff).answers[0].text);
    }
}

TEST_CASE("Speculate_ADraftModelChangesNothingButTheSteps") {
  Setting setting;
  setting.shape = {.n_ctx = 400, .noise = 3};
  setting.has_draft_model = true;
  setting.requests = {request("abcdefghijk", 200),
                      request("kjihgfedcba", 200, {.temperature = 0.5f, .seed = 4}),
                      request("zz", 150)};
  // The same habits: right most of the time. Other habits: wrong most of the time. A short context,
  // a small batch, errors.
  setting.draft_shape = setting.shape;
  const Run plain = run(setting, SpeculateMode::kOff);
  const Run good = check_setting(setting);
  CHECK(good.n_accepted * 2 > good.n_drafted);
  CHECK(good.n_forwards * 2 < plain.n_forwards);
  setting.draft_shape.habit = 77;
  const Run bad = check_setting(setting);
  CHECK(bad.n_accepted * 2 < bad.n_drafted);
  setting.draft_shape = setting.shape;
  for (const int64_t n_ctx : {8, 60}) {
    setting.draft_shape.n_ctx = n_ctx;
    check_setting(setting);
  }
  setting.draft_shape = setting.shape;
  setting.draft_shape.n_batch = 3;
  check_setting(setting);
  setting.draft_shape = setting.shape;
  for (const int64_t at : {1, 2, 30}) {
    setting.draft_fails_at = at;
    check_setting(setting);
  }
  // A context that is shifted under the draft model.
  setting.draft_fails_at = -1;
  setting.shape.n_ctx = setting.draft_shape.n_ctx = 40;
  check_setting(setting);
}

// Time is what steps are said to take, so this is what the choices are worth, without a machine's
// noise.
TEST_CASE("Speculate_NeverCostsMoreThanAHundredthWhateverColumnsCost") {
  for (const int64_t column_ns : {0, 50, 150, 300, 600, 1000})
    for (const double noise : {0.1, 2.0, 3.5, 6.0})
      for (const int n_requests : {1, 3}) {
        Setting setting;
        setting.shape = {.n_ctx = 1200, .noise = noise, .column_ns = column_ns};
        for (int i = 0; i < n_requests; ++i)
          setting.requests.push_back(
              request("abcdefgh", 1000, {.temperature = noise < 1 ? 0 : 0.8f, .seed = i}));
        const Run plain = run(setting, SpeculateMode::kOff),
                  adaptive = run(setting, SpeculateMode::kAdaptive);
        INFO(column_ns << " ns a column, noise " << noise << ", " << n_requests << " answers");
        check_same(plain, adaptive);
        CHECK(static_cast<double>(adaptive.ns) <= 1.01 * static_cast<double>(plain.ns));
        if (noise < 1 && column_ns <= 150) CHECK(adaptive.ns * 2 < plain.ns);
      }
}

TEST_CASE("Speculate_ADraftModelThatDoesNotPayIsLeftAlone") {
  Setting setting;
  setting.shape = {.n_ctx = 2000, .noise = 6, .column_ns = 100};
  setting.has_draft_model = true;
  setting.draft_shape = setting.shape;
  setting.draft_shape.step_ns = 200;
  setting.draft_shape.column_ns = 10;
  setting.requests = {request("abcdefghijk", 1500, {.temperature = 0.4f, .seed = 8})};
  const Run good = run(setting, SpeculateMode::kAdaptive);
  setting.has_draft_model = false;
  const Run without = run(setting, SpeculateMode::kAdaptive);
  setting.has_draft_model = true;
  CHECK(good.ns * 5 < without.ns * 4);
  setting.draft_shape.habit = 77;
  const Run bad = run(setting, SpeculateMode::kAdaptive);
  check_same(good, bad);
  CHECK(static_cast<double>(bad.ns) <= 1.04 * static_cast<double>(without.ns));
}
