#include "engine/sample/filters.h"

#include <algorithm>
#include <cmath>

namespace olx::engine {
namespace {

bool higher(const Candidate& a, const Candidate& b) { return a.logit != b.logit ? a.logit > b.logit : a.id < b.id; }

}  // namespace

void take_top_k(std::span<const float> logits, int k, std::vector<Candidate>& candidates) {
  candidates.clear();
  if (k > 0 && static_cast<size_t>(k) < logits.size()) {
    // A heap of the k best so far, worst on top: most logits are refused by one comparison.
    const auto limit = static_cast<size_t>(k);
    for (size_t i = 0; i < logits.size(); ++i) {
      const float logit = logits[i];
      if (!(logit > -INFINITY)) continue;
      if (candidates.size() < limit) {
        candidates.push_back({static_cast<int32_t>(i), logit, 0});
        std::push_heap(candidates.begin(), candidates.end(), higher);
      } else if (logit > candidates.front().logit) {
        std::pop_heap(candidates.begin(), candidates.end(), higher);
        candidates.back() = {static_cast<int32_t>(i), logit, 0};
        std::push_heap(candidates.begin(), candidates.end(), higher);
      }
    }
  } else {
    for (size_t i = 0; i < logits.size(); ++i)
      if (logits[i] > -INFINITY) candidates.push_back({static_cast<int32_t>(i), logits[i], 0});
  }
  if (candidates.empty()) candidates.push_back({0, 0, 1});
  std::sort(candidates.begin(), candidates.end(), higher);
}

void softmax(std::vector<Candidate>& candidates) {
  float peak = candidates[0].logit;
  for (const Candidate& candidate : candidates) peak = std::max(peak, candidate.logit);
  double sum = 0;
  for (Candidate& candidate : candidates) {
    candidate.p = std::exp(candidate.logit - peak);
    sum += candidate.p;
  }
  for (Candidate& candidate : candidates) candidate.p = static_cast<float>(candidate.p / sum);
}

// Meister et al. 2022 (arXiv:2202.00666): the tokens whose surprise is nearest to the entropy, up to the mass typical_p.
void keep_typical(std::vector<Candidate>& candidates, float typical_p) {
  if (typical_p >= 1.0f || candidates.size() <= 1) return;
  softmax(candidates);
  double entropy = 0;
  for (const Candidate& candidate : candidates)
    if (candidate.p > 0) entropy -= candidate.p * std::log(candidate.p);
  const auto distance = [&](const Candidate& candidate) { return std::fabs(-std::log(candidate.p) - entropy); };
  std::stable_sort(candidates.begin(), candidates.end(),
                   [&](const Candidate& a, const Candidate& b) { return distance(a) < distance(b); });
  double mass = 0;
  size_t n = 0;
  while (n < candidates.size()) {
    mass += candidates[n++].p;
    if (mass > typical_p) break;
  }
  candidates.resize(std::max<size_t>(n, 1));
  std::sort(candidates.begin(), candidates.end(), higher);
}

// Holtzman et al. 2019 (arXiv:1904.09751): the most likely tokens up to the mass top_p.
void keep_top_p(std::vector<Candidate>& candidates, float top_p) {
  if (top_p >= 1.0f || candidates.size() <= 1) return;
  softmax(candidates);
  double mass = 0;
  size_t n = 0;
  while (n < candidates.size()) {
    mass += candidates[n++].p;
    if (mass >= top_p) break;
  }
  candidates.resize(std::max<size_t>(n, 1));
}

// Tokens at least min_p times as likely as the most likely one.
void keep_min_p(std::vector<Candidate>& candidates, float min_p) {
  if (min_p <= 0.0f || candidates.size() <= 1) return;
  const float lowest = candidates[0].logit + std::log(min_p);
  size_t n = 1;
  while (n < candidates.size() && candidates[n].logit >= lowest) ++n;
  candidates.resize(n);
}

}  // namespace olx::engine
