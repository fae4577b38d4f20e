#include "engine/sample/sampler.h"

#include <algorithm>
#include <cmath>
#include <random>

#include "engine/sample/arg_max.h"

namespace olx::engine {
namespace {

uint64_t choose_seed(int64_t seed) {
  if (seed >= 0) return static_cast<uint64_t>(seed);
  std::random_device device;
  return (static_cast<uint64_t>(device()) << 32) | device();
}

}  // namespace

Sampler::Sampler(const SamplingOptions& options, int64_t n_ctx)
    : options_(options), seed_(choose_seed(options.seed)), rng_(seed_), mu_(2 * options.mirostat_tau) {
  const int64_t window = options.repeat_last_n < 0 ? n_ctx : options.repeat_last_n;
  const bool is_penalizing =
      options.repeat_penalty != 1.0f || options.presence_penalty != 0.0f || options.frequency_penalty != 0.0f;
  window_ = is_penalizing ? static_cast<size_t>(std::clamp<int64_t>(window, 0, n_ctx)) : 0;
}

void Sampler::accept(int32_t token) {
  if (window_ == 0) return;
  if (recent_.size() < window_) {
    recent_.push_back(token);
  } else {
    const auto oldest = counts_.find(recent_[next_]);
    if (--oldest->second == 0) counts_.erase(oldest);
    recent_[next_] = token;
    next_ = (next_ + 1) % window_;
  }
  ++counts_[token];
}

// Keskar et al. 2019 (arXiv:1909.05858) for the repeat penalty; the other two as OpenAI's API defines them.
void Sampler::penalize(std::span<float> logits) const {
  for (const auto& [token, count] : counts_) {
    if (token < 0 || static_cast<size_t>(token) >= logits.size()) continue;
    float& logit = logits[static_cast<size_t>(token)];
    logit = logit <= 0 ? logit * options_.repeat_penalty : logit / options_.repeat_penalty;
    logit -= static_cast<float>(count) * options_.frequency_penalty + options_.presence_penalty;
  }
}

int32_t Sampler::draw(std::vector<Candidate>& candidates) {
  softmax(candidates);
  double left = rng_.uniform();
  for (const Candidate& candidate : candidates) {
    left -= candidate.p;
    if (left < 0) return candidate.id;
  }
  return candidates.back().id;  // the probabilities summed to a hair less than what was drawn
}

int32_t Sampler::sample(std::span<float> logits) {
  penalize(logits);
  last_mu_ = mu_;
  return choose(logits);
}

int32_t Sampler::sample_again(std::span<float> logits) {
  mu_ = last_mu_;
  return choose(logits);
}

int32_t Sampler::choose(std::span<float> logits) {
  if (options_.temperature <= 0) return arg_max(logits);
  if (options_.mirostat == 1 || options_.mirostat == 2) return mirostat(logits);
  take_top_k(logits, options_.top_k, candidates_);
  return choose_candidate();
}

int Sampler::n_candidates() const {
  if (window_ > 0) return 0;  // penalties change the order
  if (options_.temperature <= 0) return 1;
  return options_.mirostat == 1 || options_.mirostat == 2 ? 0 : std::max(options_.top_k, 0);
}

int32_t Sampler::sample_candidates(std::span<const float> logits, std::span<const int32_t> ids) {
  candidates_.clear();
  for (size_t i = 0; i < std::min(logits.size(), static_cast<size_t>(n_candidates())); ++i)
    if (logits[i] > -INFINITY) candidates_.push_back({ids[i], logits[i], 0});
  if (candidates_.empty()) candidates_.push_back({0, 0, 1});  // as take_top_k()
  return options_.temperature <= 0 ? candidates_[0].id : choose_candidate();
}

// Of those that top_k left, sorted.
int32_t Sampler::choose_candidate() {
  keep_typical(candidates_, options_.typical_p);
  keep_top_p(candidates_, options_.top_p);
  keep_min_p(candidates_, options_.min_p);
  for (Candidate& candidate : candidates_) candidate.logit /= options_.temperature;
  return draw(candidates_);
}

// Basu et al. 2020 (arXiv:2007.14966): keeps the surprise of the text near tau.
int32_t Sampler::mirostat(std::span<float> logits) {
  take_top_k(logits, 0, candidates_);
  for (Candidate& candidate : candidates_) candidate.logit /= options_.temperature;
  softmax(candidates_);
  const auto surprise = [](float p) { return -std::log2(std::max(p, 1e-30f)); };
  if (options_.mirostat == 1) {
    // Zipf's exponent from the most likely tokens, then the k that gives the wanted surprise.
    constexpr size_t kFitted = 100;
    double ratios = 0, squares = 0;
    for (size_t i = 0; i + 1 < std::min(kFitted, candidates_.size()); ++i) {
      const double t = std::log(static_cast<double>(i + 2) / static_cast<double>(i + 1));
      const double b = std::log(static_cast<double>(candidates_[i].p) / std::max(1e-30, static_cast<double>(candidates_[i + 1].p)));
      ratios += t * b;
      squares += t * t;
    }
    const double s = squares > 0 ? ratios / squares : 1, epsilon = s - 1;
    const double n = static_cast<double>(logits.size());
    const double k = std::pow(epsilon * std::pow(2.0, mu_) / (1 - std::pow(n, -epsilon)), 1 / s);
    const double last = std::isfinite(k) ? std::clamp(k, 1.0, static_cast<double>(candidates_.size())) : 1.0;
    candidates_.resize(static_cast<size_t>(last));
  } else {
    size_t n = 1;
    while (n < candidates_.size() && surprise(candidates_[n].p) <= mu_) ++n;
    candidates_.resize(n);
  }
  const int32_t token = draw(candidates_);
  const auto chosen = std::find_if(candidates_.begin(), candidates_.end(), [&](const Candidate& c) { return c.id == token; });
  mu_ -= options_.mirostat_eta * (surprise(chosen->p) - options_.mirostat_tau);
  return token;
}

double log_sum_exp(std::span<const float> logits) {
  float peak = -INFINITY;
  for (float logit : logits) peak = std::max(peak, logit);
  double sum = 0;
  for (float logit : logits) sum += std::exp(static_cast<double>(logit) - static_cast<double>(peak));
  return static_cast<double>(peak) + std::log(sum);
}

Logprobs log_probabilities(std::span<const float> logits, int32_t token, int n_top) {
  const double total = log_sum_exp(logits);
  Logprobs out;
  out.chosen = static_cast<float>(static_cast<double>(logits[static_cast<size_t>(token)]) - total);
  if (n_top > 0) {
    std::vector<Candidate> candidates;
    take_top_k(logits, n_top, candidates);
    for (const Candidate& candidate : candidates)
      out.top.emplace_back(candidate.id, static_cast<float>(static_cast<double>(candidate.logit) - total));
  }
  return out;
}

}  // namespace olx::engine
