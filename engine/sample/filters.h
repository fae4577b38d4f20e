#pragma once
// The filters between logits and the token drawn: each narrows a list of candidates. Used by the sampler, one call after
// another; candidates are sorted by logit, highest first, unless said otherwise.

#include <cstdint>
#include <span>
#include <vector>

namespace olx::engine {

struct Candidate {
  int32_t id = 0;
  float logit = 0;
  float p = 0;  // set by softmax()
};

// The k highest logits, sorted; all of them for k <= 0. NaN and -inf are left out (but one candidate always stays).
void take_top_k(std::span<const float> logits, int k, std::vector<Candidate>& candidates);
// Fills p from the logits.
void softmax(std::vector<Candidate>& candidates);
// Each keeps at least one candidate.
void keep_typical(std::vector<Candidate>& candidates, float typical_p);
void keep_top_p(std::vector<Candidate>& candidates, float top_p);
void keep_min_p(std::vector<Candidate>& candidates, float min_p);

}  // namespace olx::engine
