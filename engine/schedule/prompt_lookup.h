#pragma once
// PromptLookup: guesses the next tokens of one text as what followed its last few tokens when they
// stood in it before (Saxena 2023, github.com/apoorvumang/prompt-lookup-decoding). Used by
// Speculation. It follows its guess whether anybody uses it or not: each token that comes is held
// against the one expected, so the chance of a hit is always known, at no cost, and an answer that
// repeats nothing is left alone.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/schedule/ngram_index.h"

namespace olx::engine {

// The share of hits of late, beginning as if `weight` guesses had hit with the share `prior`.
class HitRate {
 public:
  HitRate(double prior, double weight) : prior_hits_(prior * weight), prior_weight_(weight) {}
  void count(bool is_hit) {
    hits_ = hits_ * kKept + (is_hit ? 1 : 0);
    tries_ = tries_ * kKept + 1;
  }
  // Goes back towards the prior: what was learned gets old.
  void forget(double kept) {
    hits_ *= kept;
    tries_ *= kept;
  }
  double rate() const { return (hits_ + prior_hits_) / (tries_ + prior_weight_); }

 private:
  static constexpr double kKept = 0.97;  // about the last 30 count
  double prior_hits_, prior_weight_;
  double hits_ = 0, tries_ = 0;
};

class PromptLookup {
 public:
  PromptLookup();
  // The text begins with these; what they repeat of one another says nothing of what will be
  // written, and is not counted.
  void read(std::span<const int32_t> tokens);
  // The text goes on with `token`.
  void observe(int32_t token);
  // Chance that the i-th token guessed (from 0) comes, given that those before it have. 0: no
  // guess.
  double chance(size_t i) const;
  bool has_guess() const { return source_ != 0; }
  // Appends the next n tokens as guessed; a guess that runs into the end of the text reads on in
  // itself.
  void guess(size_t n, std::vector<int32_t>& draft) const;

  size_t size_bytes() const;

 private:
  static constexpr size_t kShort = 3,
                          kLong = 8;  // tokens that must agree; the longer agreement is preferred
  static size_t class_of(size_t n_matched);
  void append(int32_t token);

  std::vector<int32_t>
      text_;  // own copy: a shifted context forgets tokens that are still worth repeating
  NgramIndex short_index_{kShort}, long_index_{kLong};
  size_t source_ = 0;           // place of the token expected next; 0: none
  size_t n_matched_ = 0;        // tokens before it that agree with the end of the text
  std::vector<HitRate> rates_;  // by class_of(n_matched_)
};

}  // namespace olx::engine
