// The scheduler with a network that remembers prefixes: real tables and a real tree over pages of
// four positions that hold tokens in place of keys and values. What it says depends on every token
// it can see, so that a page mixed up or read too early changes the answer.
#include <algorithm>
#include <random>
#include <stdexcept>

#include "engine/cache/prefix_cache.h"
#include "engine/schedule/scheduler.h"
#include "tests/engine/grammar/grammar_support.h"
#include "tests/support/catch.h"

using namespace olx::engine;
using namespace olx::tests;

namespace {

constexpr int64_t kPage = 4;
constexpr int64_t kLetters = 26;

class PagedRunner final : public Runner {
 public:
  PagedRunner(int64_t n_ctx, int n_sequences, int n_batch, bool remembers)
      : tables((n_ctx + kPage - 1) / kPage * n_sequences, kPage, n_sequences,
               (n_ctx + kPage - 1) / kPage),
        prefixes(tables),
        n_ctx_(n_ctx),
        n_batch_(n_batch),
        remembers_(remembers),
        content_(static_cast<size_t>(tables.n_pages() * kPage), -1) {}

  int64_t n_ctx() const override { return n_ctx_; }
  int n_sequences() const override { return static_cast<int>(tables.n_sequences()); }
  int n_batch() const override { return n_batch_; }
  bool forward(std::span<const BatchToken> tokens, const std::atomic<bool>* cancel) override {
    for (const BatchToken& token : tokens) cell(token.sequence, token.position) = -1;  // half done
    if (on_forward) on_forward();
    if (cancel != nullptr && *cancel) return false;
    if (fails_in > 0 && --fails_in == 0) throw std::runtime_error("the device is on fire");
    rows_.clear();
    for (const BatchToken& token : tokens) {
      REQUIRE(token.position == tables.n_used(token.sequence));
      cell(token.sequence, token.position) = token.id;
      tables.set_used(token.sequence, token.position + 1);
      ++n_evaluated;
      if (token.wants_logits) rows_.push_back(row_of(token.sequence));
    }
    return true;
  }
  std::span<float> logits(int64_t i) override { return rows_.at(static_cast<size_t>(i)); }
  int64_t n_positions(int32_t sequence) const override { return tables.n_used(sequence); }
  bool reserve(int32_t sequence, int64_t n_positions) override {
    if (n_positions > n_ctx_) return false;
    std::vector<BlockTables::PageCopy> copies;
    while (!tables.reserve(sequence, n_positions, copies))
      if (!prefixes.evict_one()) return false;
    for (const auto& copy : copies)
      std::copy_n(content_.begin() + copy.from * kPage, kPage, content_.begin() + copy.to * kPage);
    return true;
  }
  void truncate(int32_t sequence, int64_t n_positions) override {
    tables.truncate(sequence, n_positions);
  }
  int64_t attach_prefix(int32_t sequence, std::span<const int32_t> tokens) override {
    return remembers_ ? prefixes.attach(sequence, tokens) : Runner::attach_prefix(sequence, tokens);
  }
  void keep_prefix(int32_t sequence, std::span<const int32_t> tokens, bool is_final) override {
    REQUIRE(static_cast<int64_t>(tokens.size()) <= tables.n_used(sequence));
    for (size_t i = 0; i < tokens.size(); ++i)
      REQUIRE(cell(sequence, static_cast<int64_t>(i)) == tokens[i]);
    if (remembers_) prefixes.insert(sequence, tokens, is_final);
  }

  BlockTables tables;
  PrefixCache prefixes;
  std::function<void()> on_forward;
  int fails_in = 0;
  int64_t n_evaluated = 0;

 private:
  int32_t& cell(int64_t sequence, int64_t position) {
    return content_[static_cast<size_t>(tables.page_of(sequence, position / kPage) * kPage +
                                        position % kPage)];
  }
  std::vector<float> row_of(int64_t sequence) {
    uint32_t hash = 7;
    for (int64_t i = 0; i < tables.n_used(sequence); ++i)
      hash = hash * 31 + static_cast<uint32_t>(cell(sequence, i)) + 1;
    std::vector<float> row(static_cast<size_t>(kLetters + 2), 0.0f);
    row[(hash >> 8) % kLetters] = 10;
    return row;
  }
  int64_t n_ctx_;
  int n_batch_;
  bool remembers_;
  std::vector<int32_t> content_;
  std::vector<std::vector<float>> rows_;
};

using Tokens = std::vector<int32_t>;
using Channel = std::shared_ptr<TokenStream::State>;

struct Bench {
  explicit Bench(int64_t n_ctx = 64, int n_sequences = 2, int n_batch = 8, bool remembers = true)
      : runner(n_ctx, n_sequences, n_batch, remembers),
        scheduler(runner, letters, [] { return int64_t{0}; }) {}
  static std::vector<std::string> alphabet() {
    std::vector<std::string> texts;
    for (char c = 'a'; c <= 'z'; ++c) texts.emplace_back(1, c);
    return texts;
  }
  Channel add(const Tokens& prompt, int n_predict, int n_keep = 4) {
    GenerateRequest request;
    request.prompt_tokens = prompt;
    request.sampling.temperature = 0;
    request.n_predict = n_predict;
    request.n_keep = n_keep;
    auto channel = std::make_shared<TokenStream::State>();
    scheduler.add(std::move(request), 0, channel);
    return channel;
  }
  void run() {
    for (int i = 0; i < 10'000 && scheduler.step(); ++i) {
    }
  }
  ListedTokens letters{alphabet()};
  PagedRunner runner;
  Scheduler scheduler;
};

struct Answer {
  Tokens tokens;
  TokenEvent last;
};
Answer collect(const Channel& channel) {
  Answer answer;
  for (const TokenEvent& event : channel->events) {
    answer.tokens.insert(answer.tokens.end(), event.tokens.begin(), event.tokens.end());
    answer.last = event;
  }
  return answer;
}

Tokens prompt_of(int n, int seed) {
  Tokens tokens;
  for (int i = 0; i < n; ++i)
    tokens.push_back((i * 7 + i * i * seed + seed) % static_cast<int>(kLetters));
  return tokens;
}
Tokens joined(Tokens a, const Tokens& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

}  // namespace

TEST_CASE("Scheduler_ASecondTurnEvaluatesItsNewTokensWhateverCameBetween") {
  for (const bool remembers : {true, false}) {
    Bench bench(256, 2, 16, remembers);
    const Tokens first = prompt_of(101, 1);
    const Channel answered = bench.add(first, 20);
    bench.run();
    const Tokens history = joined(first, collect(answered).tokens);
    REQUIRE(history.size() == 121);
    for (int other = 2; other < 5; ++other) {  // more conversations than there are sequences
      bench.add(prompt_of(40, other), 8);
      if (other > 2) bench.run();
    }
    const Tokens second = joined(history, prompt_of(5, 9));
    const int64_t n_before = bench.runner.n_evaluated;
    const Channel again = bench.add(second, 1);
    bench.run();
    const Answer answer = collect(again);
    // The last token of an answer is drawn and not evaluated: it counts as new.
    CHECK(answer.last.stats.n_cached_tokens == (remembers ? 120 : 0));
    CHECK(bench.runner.n_evaluated - n_before == (remembers ? 6 : 126));
    CHECK(answer.last.stats.n_prompt_tokens == 126);
    Bench fresh(256, 1, 16, false);
    const Channel expected = fresh.add(second, 1);
    fresh.run();
    CHECK(answer.tokens == collect(expected).tokens);
    const Channel same =
        bench.add(second, 1);  // all of it is cached: the last token is evaluated nevertheless
    bench.run();
    CHECK(collect(same).tokens == answer.tokens);
    CHECK(collect(same).last.stats.n_cached_tokens == (remembers ? 125 : 0));
  }
}

TEST_CASE("Scheduler_ARequestBeginsWithWhatAnotherIsReadingNow") {
  Bench bench(256, 2, 8);
  const Tokens system = prompt_of(80, 1);
  const Channel first = bench.add(joined(system, {1, 2, 3}), 4);
  for (int i = 0; i < 5; ++i) bench.scheduler.step();  // 40 tokens of it
  const Channel second = bench.add(joined(system, {4, 5, 6}), 4);
  bench.run();
  CHECK(collect(second).last.stats.n_cached_tokens == 40);
  CHECK(collect(first).last.done == DoneReason::kLength);
}

TEST_CASE("Scheduler_ManyRequestsForNothingAreAllAnswered") {
  Bench bench(64, 1, 8);
  std::vector<Channel> channels;
  for (int i = 0; i < 5; ++i) channels.push_back(bench.add({1, 2}, 0));
  bench.run();
  for (const Channel& channel : channels) CHECK(collect(channel).last.done == DoneReason::kLength);
}

TEST_CASE("Scheduler_NothingOfAFailedStepIsRemembered") {
  Bench bench(64, 1, 8);
  const Tokens prompt = prompt_of(30, 1);
  bench.runner.fails_in = 3;
  const Channel failed = bench.add(prompt, 4);
  bench.run();
  CHECK(collect(failed).last.done == DoneReason::kError);
  CHECK(bench.runner.prefixes.n_pages() == 0);
  CHECK(bench.runner.tables.n_free_pages() == bench.runner.tables.n_pages());
  const Channel again = bench.add(prompt, 4);
  bench.run();
  CHECK(collect(again).last.stats.n_cached_tokens == 0);
}

TEST_CASE("Scheduler_OfACancelledRequestTheWholeStepsAreRemembered") {
  Bench bench(64, 1, 8);
  const Tokens prompt = prompt_of(30, 1);
  const Channel cancelled = bench.add(prompt, 4);
  int n_steps = 0;
  bench.runner.on_forward = [&] { cancelled->is_cancelled = ++n_steps == 3; };
  bench.run();
  bench.runner.on_forward = nullptr;
  CHECK(collect(cancelled).last.done == DoneReason::kCancelled);
  const Channel again = bench.add(prompt, 4);
  bench.run();
  CHECK(collect(again).last.stats.n_cached_tokens == 16);
  Bench fresh(64, 1, 8, false);
  const Channel expected = fresh.add(prompt, 4);
  fresh.run();
  CHECK(collect(again).tokens == collect(expected).tokens);
}

TEST_CASE("Scheduler_AnswersAreTheSameWithAndWithoutRememberedPrefixes", "[T-99][T-100]") {
  // Chats that go on, begin anew, overflow their context, are cancelled and fail, on pools that are
  // always too small for all of them. Each answer that ended is compared with that of a network
  // that remembers nothing.
  for (const uint32_t seed : {1u, 2u, 3u}) {
    std::mt19937 rng(seed);
    const auto pick = [&](int n) { return static_cast<int>(rng() % static_cast<uint32_t>(n)); };
    constexpr int kContext = 50;
    Bench bench(kContext, 3, 8);
    struct Asked {
      Tokens prompt;
      int n_predict;
      Channel channel;
    };
    std::vector<Asked> asked;
    std::vector<Tokens> chats{prompt_of(10, 1)};
    int64_t n_cached = 0;
    int n_compared = 0;
    for (int round = 0; round < 300; ++round) {
      Tokens prompt = chats[static_cast<size_t>(pick(static_cast<int>(chats.size())))];
      prompt.resize(static_cast<size_t>(pick(static_cast<int>(prompt.size())) + 1));
      for (int i = pick(6); i > 0; --i) prompt.push_back(pick(3));
      if (prompt.size() >= kContext) prompt.resize(kContext - 1);
      const int n_predict = pick(40);
      asked.push_back({prompt, n_predict, bench.add(prompt, n_predict)});
      if (pick(10) == 0) bench.runner.fails_in = 1 + pick(20);
      for (int i = pick(30); i > 0; --i) bench.scheduler.step();
      if (pick(5) == 0)
        asked[static_cast<size_t>(pick(static_cast<int>(asked.size())))].channel->is_cancelled =
            true;
      if (pick(3) > 0) continue;
      bench.runner.fails_in = 0;
      bench.run();
      for (const Asked& one : asked) {
        const Answer answer = collect(one.channel);
        n_cached += answer.last.stats.n_cached_tokens;
        if (answer.last.done != DoneReason::kLength) continue;
        Bench fresh(kContext, 1, 8, false);
        const Channel expected = fresh.add(one.prompt, one.n_predict);
        fresh.run();
        REQUIRE(answer.tokens == collect(expected).tokens);
        ++n_compared;
        chats.push_back(joined(one.prompt, answer.tokens));
        if (chats.size() > 12) chats.erase(chats.begin());
      }
      asked.clear();
      CHECK(bench.runner.tables.n_held_pages() == 0);
      CHECK(bench.runner.tables.n_free_pages() + bench.runner.prefixes.n_pages() ==
            bench.runner.tables.n_pages());
    }
    CHECK(n_compared > 100);
    CHECK(n_cached > 500);
    CHECK(bench.runner.prefixes.stats().n_evicted > 20);
  }
}
