#include "engine/sample/arg_max.h"
#include "engine/sample/sampler.h"

#include <algorithm>
#include <cmath>
#include <random>

#include "tests/support/catch.h"

using namespace olx::engine;

namespace {

std::vector<float> random_logits(size_t n, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, 3);
  std::vector<float> logits(n);
  for (float& logit : logits) logit = normal(random);
  return logits;
}

std::vector<int32_t> sorted_ids(const std::vector<float>& logits) {
  std::vector<int32_t> ids(logits.size());
  for (size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<int32_t>(i);
  std::stable_sort(ids.begin(), ids.end(), [&](int32_t a, int32_t b) { return logits[static_cast<size_t>(a)] > logits[static_cast<size_t>(b)]; });
  return ids;
}

// A copy the sampler may change; it lives until the end of the full expression.
std::span<float> copy_of(const std::vector<float>& logits) {
  static thread_local std::vector<float> copy;
  copy = logits;
  return copy;
}

SamplingOptions plain(float temperature) {
  SamplingOptions options;
  options.temperature = temperature;
  options.top_k = 0;
  options.top_p = 1;
  options.seed = 7;
  return options;
}

}  // namespace

TEST_CASE("Filters_TopKIsTheHeadOfTheSortedList") {
  for (uint32_t seed = 0; seed < 20; ++seed) {
    std::vector<float> logits = random_logits(200, seed);
    logits[5] = logits[9];  // a tie
    logits[17] = NAN;
    logits[18] = -INFINITY;
    std::vector<float> clean = logits;
    clean[17] = -INFINITY;
    const std::vector<int32_t> expected = sorted_ids(clean);
    for (int k : {1, 2, 40, 199, 200, 1000, 0, -1}) {
      std::vector<Candidate> candidates;
      take_top_k(logits, k, candidates);
      const size_t n = std::min<size_t>(k > 0 ? static_cast<size_t>(k) : 198, 198);
      REQUIRE(candidates.size() == n);
      for (size_t i = 0; i < n; ++i) REQUIRE(candidates[i].logit == clean[static_cast<size_t>(expected[i])]);
    }
  }
}

TEST_CASE("Filters_KeepTheMassTheyName") {
  for (uint32_t seed = 0; seed < 20; ++seed) {
    const std::vector<float> logits = random_logits(300, seed);
    std::vector<Candidate> all;
    take_top_k(logits, 0, all);
    softmax(all);
    for (float top_p : {0.1f, 0.5f, 0.9f, 0.999f}) {
      std::vector<Candidate> kept = all;
      keep_top_p(kept, top_p);
      double mass = 0;
      for (size_t i = 0; i < kept.size(); ++i) mass += all[i].p;
      CHECK(mass >= top_p - 1e-5);
      CHECK(mass - all[kept.size() - 1].p < top_p);  // one fewer would be too little
    }
    for (float min_p : {0.05f, 0.3f}) {
      std::vector<Candidate> kept = all;
      keep_min_p(kept, min_p);
      const auto expected = std::count_if(all.begin(), all.end(), [&](const Candidate& c) { return c.p >= min_p * all[0].p * (1 - 1e-5f); });
      CHECK(std::abs(static_cast<int64_t>(kept.size()) - expected) <= 1);
    }
    std::vector<Candidate> typical = all;
    keep_typical(typical, 0.5f);
    CHECK_FALSE(typical.empty());
    CHECK(typical.size() < all.size());
  }
  std::vector<Candidate> one{{3, 1.0f, 0}};
  keep_top_p(one, 0.0f);
  keep_min_p(one, 1.0f);
  keep_typical(one, 0.0f);
  CHECK(one.size() == 1);
}

TEST_CASE("Sampler_TemperatureZeroIsTheArgMaxAfterPenalties") {
  std::vector<float> logits = random_logits(1000, 1);
  const int32_t best = sorted_ids(logits)[0];
  Sampler greedy(plain(0), 100);
  CHECK(greedy.sample(copy_of(logits)) == best);
  SamplingOptions options = plain(0);
  options.repeat_penalty = 100;
  Sampler penalised(options, 100);
  penalised.accept(best);
  std::vector<float> copy = logits;
  CHECK(penalised.sample(copy) != best);
}

TEST_CASE("Sampler_PenaltiesForgetWhatLeavesTheWindow") {
  SamplingOptions options = plain(0);
  options.repeat_last_n = 2;
  options.presence_penalty = 5;
  std::vector<float> logits(10, 0.0f);
  logits[3] = 4;
  Sampler sampler(options, 100);
  sampler.accept(3);
  CHECK(sampler.sample(copy_of(logits)) != 3);
  sampler.accept(1);
  CHECK(sampler.sample(copy_of(logits)) != 3);
  sampler.accept(1);  // 3 is out of the window now
  CHECK(sampler.sample(copy_of(logits)) == 3);
  options.repeat_last_n = 0;
  Sampler off(options, 100);
  off.accept(3);
  CHECK(off.sample(copy_of(logits)) == 3);
}

TEST_CASE("Sampler_SameSeedSameTokensOtherSeedOthers") {
  const std::vector<float> logits = random_logits(500, 2);
  const auto draw = [&](int64_t seed) {
    SamplingOptions options = plain(1);
    options.seed = seed;
    Sampler sampler(options, 100);
    std::vector<int32_t> tokens;
    for (int i = 0; i < 50; ++i) tokens.push_back(sampler.sample(copy_of(logits)));
    return tokens;
  };
  CHECK(draw(1) == draw(1));
  CHECK(draw(1) != draw(2));
  CHECK(draw(-1) != draw(-1));
}

TEST_CASE("Sampler_DrawsInProportionToTheSoftmax") {
  const std::vector<float> logits{0.0f, 1.0f, 2.0f, -1.0f};
  for (float temperature : {0.5f, 1.0f, 2.0f}) {
    Sampler sampler(plain(temperature), 100);
    double counts[4] = {}, weights[4], total = 0;
    constexpr int kDraws = 20'000;
    for (int i = 0; i < kDraws; ++i) ++counts[sampler.sample(copy_of(logits))];
    for (int i = 0; i < 4; ++i) total += weights[i] = std::exp(logits[static_cast<size_t>(i)] / temperature);
    double chi_square = 0;
    for (int i = 0; i < 4; ++i) {
      const double expected = kDraws * weights[i] / total;
      chi_square += (counts[i] - expected) * (counts[i] - expected) / expected;
    }
    CHECK(chi_square < 16.3);  // 3 degrees of freedom, p = 0.001; the seed is fixed
  }
}

TEST_CASE("Sampler_MirostatHoldsTheSurpriseNearItsTarget") {
  for (int version : {1, 2}) {
    SamplingOptions options = plain(1);
    options.mirostat = version;
    options.mirostat_tau = 3;
    Sampler sampler(options, 100);
    std::vector<float> logits(2000);
    for (size_t i = 0; i < logits.size(); ++i) logits[i] = -1.1f * std::log(static_cast<float>(i + 1));  // Zipf
    const double total = log_sum_exp(logits);
    double surprise = 0;
    constexpr int kDraws = 2000;
    for (int i = 0; i < kDraws; ++i) {
      const int32_t token = sampler.sample(copy_of(logits));
      surprise += (total - static_cast<double>(logits[static_cast<size_t>(token)])) / std::log(2.0);
    }
    INFO("version " << version);
    CHECK(surprise / kDraws > 1.5);
    CHECK(surprise / kDraws < 5.5);
  }
}

TEST_CASE("Sampler_LogProbabilitiesSumToOne") {
  const std::vector<float> logits = random_logits(100, 4);
  const Logprobs logprobs = log_probabilities(logits, 42, 100);
  double sum = 0;
  for (const auto& [id, logprob] : logprobs.top) {
    sum += std::exp(logprob);
    if (id == 42) CHECK(logprob == logprobs.chosen);
  }
  CHECK(sum == Approx(1.0).epsilon(1e-5));
  CHECK(log_probabilities(logits, 42, 0).top.empty());
}

TEST_CASE("Sampler_DrawsFromTheLargestLogitsWhatItDrawsFromAll") {
  for (uint32_t round = 0; round < 200; ++round) {
    std::vector<float> logits = random_logits(300, round);
    for (size_t i = 0; i < logits.size(); i += 3) logits[i] = std::round(logits[i]);  // some are equal
    if (round % 5 == 0) std::fill(logits.begin() + 4, logits.end(), -INFINITY);       // fewer than are asked for
    SamplingOptions options = plain(round % 4 == 0 ? 0.0f : 0.9f);
    options.top_k = static_cast<int>(1 + round % 50);
    options.top_p = round % 3 == 0 ? 0.8f : 1.0f;
    options.seed = round;
    Sampler of_all(options, 64), of_few(options, 64);
    REQUIRE(of_few.n_candidates() == (options.temperature <= 0 ? 1 : options.top_k));
    std::vector<Candidate> best;
    take_top_k(logits, 64, best);  // more than are needed
    std::vector<float> values;
    std::vector<int32_t> ids;
    for (const Candidate& candidate : best) {
      values.push_back(candidate.logit);
      ids.push_back(candidate.id);
    }
    values.push_back(-INFINITY);
    ids.push_back(-1);
    for (int draw = 0; draw < 5; ++draw) CHECK(of_few.sample_candidates(values, ids) == of_all.sample(copy_of(logits)));
  }
}

TEST_CASE("ArgMax_TakesTheFirstOfTheLargestWhereverItStands") {
  for (size_t n : {1, 2, 15, 16, 17, 4095, 4096, 4097, 9000}) {
    for (uint32_t round = 0; round < 20; ++round) {
      std::vector<float> logits = random_logits(n, round);
      if (round % 3 == 0)  // many are the largest
        for (float& x : logits) x = std::min(x, 0.5f);
      if (round % 4 == 0) logits[round % n] = NAN;
      if (round % 5 == 0) logits[n - 1] = 100.0f;
      size_t expected = 0;
      for (size_t i = 0; i < n; ++i)
        if (logits[i] > logits[expected] || std::isnan(logits[expected])) expected = i;
      CHECK(arg_max(logits) == static_cast<int32_t>(expected));
    }
    CHECK(arg_max(std::vector<float>(n, -INFINITY)) == 0);
    CHECK(arg_max(std::vector<float>(n, NAN)) == 0);
  }
  std::vector<float> last(5000, -INFINITY);
  last[4999] = -1.0f;
  CHECK(arg_max(last) == 4999);
}
