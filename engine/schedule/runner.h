#pragma once
// What the scheduler needs of a network: the part of ModelRunner it calls, as an interface, so that it is tested with a
// network that can be made to fail, to be slow, or to say anything.

#include <atomic>
#include <span>

#include "engine/model/model_runner.h"

namespace olx::engine {

class Runner {
 public:
  virtual ~Runner() = default;
  virtual int64_t n_ctx() const = 0;        // positions of a sequence
  virtual int n_sequences() const = 0;
  virtual int n_batch() const = 0;          // tokens of one forward()
  virtual int n_logits() const { return n_sequences(); }  // tokens of one forward() that may want logits
  virtual bool forward(std::span<const BatchToken> tokens, const std::atomic<bool>* cancel) = 0;
  virtual std::span<float> logits(int64_t i) = 0;
  // The most of candidates() that forward_candidates() can be asked for; 0: there are none.
  virtual int64_t n_candidates_max() const { return 0; }
  // forward() with the n largest logits of each row found too, 1 .. n_candidates_max().
  virtual bool forward_candidates(std::span<const BatchToken> tokens, int64_t /*n*/, const std::atomic<bool>* cancel) {
    return forward(tokens, cancel);
  }
  // Of the row of logits(i).
  virtual CandidateRow candidates(int64_t /*i*/) { return {}; }
  virtual int64_t n_positions(int32_t sequence) const = 0;
  virtual bool reserve(int32_t sequence, int64_t n_positions) = 0;
  virtual void truncate(int32_t sequence, int64_t n_positions) = 0;
  // As ModelRunner; a runner may also remember nothing.
  virtual int64_t attach_prefix(int32_t sequence, std::span<const int32_t> /*tokens*/) {
    truncate(sequence, 0);
    return 0;
  }
  virtual void keep_prefix(int32_t /*sequence*/, std::span<const int32_t> /*tokens*/, bool /*is_final*/) {}
};

}  // namespace olx::engine
