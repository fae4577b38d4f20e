#pragma once
// Sampler: logits to a token, with Ollama's options. One per sequence; holds its random numbers and what it has seen.
// Order: penalties, top_k, typical_p, top_p, min_p, temperature, draw (llama.cpp's order). Temperature 0 is the arg-max
// after penalties. Same seed, same logits, same tokens.

#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "engine/request.h"
#include "engine/sample/filters.h"
#include "engine/sample/rng.h"

namespace olx::engine {

class Sampler {
 public:
  // n_ctx: what repeat_last_n = -1 means.
  Sampler(const SamplingOptions& options, int64_t n_ctx);

  // A token that the penalties shall remember (prompt tokens too).
  void accept(int32_t token);
  // Changes the logits (penalties). Does not accept what it drew.
  int32_t sample(std::span<float> logits);
  // How many of the largest logits are enough for sample_candidates() to draw what sample() draws; 0: all are needed.
  int n_candidates() const;
  // sample() of a row of which these are the largest logits, largest first and of equal ones the lower id first: at
  // least n_candidates() of them, or all that are not -inf.
  int32_t sample_candidates(std::span<const float> logits, std::span<const int32_t> ids);
  // Another token in the place of the last one, from the logits that sample() left, which the caller has narrowed (to -inf)
  // since.
  int32_t sample_again(std::span<float> logits);

  uint64_t seed() const { return seed_; }

 private:
  void penalize(std::span<float> logits) const;
  int32_t choose(std::span<float> logits);
  int32_t choose_candidate();
  int32_t draw(std::vector<Candidate>& candidates);
  int32_t mirostat(std::span<float> logits);

  SamplingOptions options_;
  uint64_t seed_;
  Rng rng_;
  size_t window_;                              // tokens the penalties look back
  std::vector<int32_t> recent_;                // ring of the last window_ tokens
  size_t next_ = 0;
  std::unordered_map<int32_t, int> counts_;    // of the tokens in recent_
  std::vector<Candidate> candidates_;
  float mu_;                                   // mirostat's state
  float last_mu_ = 0;                          // before the last token
};

// Log-probabilities of the raw logits: of `token`, and of the n_top most likely ones.
struct Logprobs {
  float chosen = 0;
  std::vector<std::pair<int32_t, float>> top;
};
Logprobs log_probabilities(std::span<const float> logits, int32_t token, int n_top);
// log(sum(exp(logits))), in double.
double log_sum_exp(std::span<const float> logits);

}  // namespace olx::engine
