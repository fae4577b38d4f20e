#include "engine/schedule/prompt_lookup.h"

#include <algorithm>
#include <random>

#include "engine/schedule/step_costs.h"
#include "tests/support/catch.h"

using namespace olx::engine;

namespace {

// The latest earlier end of the last n tokens, by looking everywhere.
size_t naive(const std::vector<int32_t>& text, size_t n) {
  if (text.size() < n) return 0;
  for (size_t end = text.size() - 1; end >= n; --end)
    if (std::equal(text.end() - static_cast<int64_t>(n), text.end(),
                   text.begin() + static_cast<int64_t>(end - n)))
      return end;
  return 0;
}

std::vector<int32_t> observe_all(PromptLookup& lookup, const std::vector<int32_t>& tokens) {
  for (int32_t token : tokens) lookup.observe(token);
  return tokens;
}

std::vector<int32_t> guess(const PromptLookup& lookup, size_t n) {
  std::vector<int32_t> draft;
  lookup.guess(n, draft);
  return draft;
}

}  // namespace

TEST_CASE("NgramIndex_FindsWhatASearchEverywhereFinds") {
  std::mt19937 random(11);
  for (const int n_kinds : {2, 3, 10, 50'000})
    for (const size_t n : {1, 2, 3, 8}) {
      NgramIndex index(n);
      std::vector<int32_t> text;
      for (int i = 0; i < 1500; ++i) {
        // Now and then a piece of what was there is repeated, as answers do.
        const bool repeats = !text.empty() && random() % 4 == 0;
        const size_t from = repeats ? random() % text.size() : 0,
                     length = repeats ? 1 + random() % 20 : 1;
        for (size_t k = 0; k < length; ++k) {
          text.push_back(repeats ? text[from + k]
                                 : static_cast<int32_t>(random() % static_cast<unsigned>(n_kinds)));
          INFO(n << " of " << n_kinds << " kinds at " << text.size());
          REQUIRE(index.advance(text) == naive(text, n));
        }
      }
    }
}

TEST_CASE("NgramIndex_KeepsItsSizeWithinAFewBytesAToken") {
  NgramIndex index(3);
  std::vector<int32_t> text;
  for (int i = 0; i < 100'000; ++i) {
    text.push_back(i);
    index.advance(text);
  }
  CHECK(index.size_bytes() <= 16 * text.size());
  NgramIndex repeated(3);
  text.assign(100'000, 7);
  for (size_t i = 1; i <= text.size(); ++i) repeated.advance(std::span(text).first(i));
  CHECK(repeated.size_bytes() <= 4096);
}

TEST_CASE("PromptLookup_GuessesWhatFollowedBefore") {
  PromptLookup lookup;
  lookup.read(std::vector<int32_t>{1, 2, 3, 4, 5, 6, 7, 8, 9, 30, 31, 1, 2});
  CHECK_FALSE(lookup.has_guess());
  CHECK(lookup.chance(0) == 0);
  CHECK(guess(lookup, 3).empty());
  lookup.observe(3);
  REQUIRE(lookup.has_guess());
  CHECK(guess(lookup, 4) == std::vector<int32_t>{4, 5, 6, 7});
  // One that hits goes on from where it was; one that fails is dropped.
  lookup.observe(4);
  CHECK(guess(lookup, 2) == std::vector<int32_t>{5, 6});
  lookup.observe(40);
  CHECK_FALSE(lookup.has_guess());
}

TEST_CASE("PromptLookup_PrefersTheLongerAgreementToTheLaterPlace") {
  PromptLookup lookup;
  std::vector<int32_t> text = {1, 2, 3, 4,   5,  6,  7, 8, 100, 50, 51,
                               6, 7, 8, 200, 52, 53, 1, 2, 3,   4,  5};
  lookup.read(text);
  lookup.observe(6);
  lookup.observe(7);
  lookup.observe(8);
  CHECK(guess(lookup, 1) == std::vector<int32_t>{100});
}

TEST_CASE("PromptLookup_ReadsOnInItsOwnGuessAtTheEndOfTheText") {
  PromptLookup lookup;
  lookup.read(std::vector<int32_t>{9, 1, 2, 1, 2, 1});
  lookup.observe(2);
  CHECK(guess(lookup, 7) == std::vector<int32_t>{1, 2, 1, 2, 1, 2, 1});
  PromptLookup same;
  same.read(std::vector<int32_t>{5, 5, 5, 5});
  CHECK(guess(same, 5) == std::vector<int32_t>{5, 5, 5, 5, 5});
}

TEST_CASE("PromptLookup_LearnsWhetherItsGuessesHit") {
  std::mt19937 random(3);
  PromptLookup copying, free;
  std::vector<int32_t> prompt;
  for (int i = 0; i < 400; ++i) prompt.push_back(static_cast<int32_t>(random() % 1000));
  copying.read(prompt);
  free.read(prompt);
  const double before = copying.chance(0);
  CHECK(before == 0);
  observe_all(copying, {prompt.begin(), prompt.begin() + 300});
  CHECK(copying.chance(0) > 0.95);
  // Three tokens of the prompt, then always something else.
  for (int i = 0; i < 300; i += 4) {
    for (int k = 0; k < 3; ++k) free.observe(prompt[static_cast<size_t>(i + k)]);
    REQUIRE(free.has_guess());
    free.observe(2000 + i);
  }
  for (int k = 0; k < 3; ++k) free.observe(prompt[static_cast<size_t>(320 + k)]);
  REQUIRE(free.has_guess());
  CHECK(free.chance(0) < 0.06);
}

TEST_CASE("StepCosts_AreMeasuredGuessedBetweenAndForgotten") {
  StepCosts costs;
  CHECK(costs.expected(1) == Approx(1));
  CHECK(costs.expected(4) > 1);
  costs.count(1, 1000);
  costs.count(8, 2400);
  CHECK(costs.expected(1) == Approx(1000).epsilon(0.01));
  CHECK(costs.expected(8) == Approx(2400).epsilon(0.01));
  CHECK(costs.expected(4) == Approx(1600).epsilon(0.01));
  CHECK(costs.expected(16) > costs.expected(8));
  for (int n = 2; n <= 16; ++n) CHECK(costs.expected(n) >= costs.expected(n - 1));
  // The machine got slower: what was not measured since is taken to have got slower too.
  for (int i = 0; i < 300; ++i) costs.count(1, 2000);
  CHECK(costs.expected(1) == Approx(2000).epsilon(0.05));
  CHECK(costs.expected(8) > 3200);
  // One step that was held up hardly counts.
  costs.count(1, 2'000'000);
  CHECK(costs.expected(1) < 2300);
  // A bad figure does not stay for ever.
  costs.count(2, 1'000'000);
  CHECK(costs.expected(2) > 100'000);
  for (int i = 0; i < 1100; ++i) costs.count(1, 2000);
  CHECK(costs.expected(2) < 3000);
  // Nothing that is outside the table.
  costs.count(0, 5);
  costs.count(17, 5);
  costs.count(3, 0);
  CHECK(costs.expected(100) == costs.expected(16));
}
