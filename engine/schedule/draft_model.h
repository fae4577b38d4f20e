#pragma once
// DraftModel: a second, smaller network that says what it would write next, for a larger one to
// verify (Leviathan et al. 2023, arXiv:2211.17192). Used by the Speculator, from the engine's
// thread. Its guesses are its most likely tokens: the larger network draws its own, so nothing of
// this one's probabilities enters the answer.

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "engine/schedule/runner.h"

namespace olx::engine {

class DraftModel {
 public:
  using Clock = std::function<int64_t()>;
  // `runner` has at least the sequences of the network it guesses for; ids from vocab_size on are
  // never guessed.
  DraftModel(Runner& runner, int32_t vocab_size, Clock clock);

  struct Ask {
    int32_t sequence = 0;
    std::span<const int32_t> tokens;  // the whole text, its last token included
    size_t n = 0;                     // tokens to guess
    std::vector<int32_t>* draft =
        nullptr;  // gets them; stays empty where the text was not read up to its end yet
  };
  // A text that is far ahead of what was read is read in pieces, one a call, so that no answer
  // waits long.
  void guess(std::span<const Ask> asks);

  bool has_room(size_t n_positions) const {
    return static_cast<int64_t>(n_positions) <= runner_.n_ctx();
  }
  // What one more token for every ask takes; 0: not known yet.
  double round_ns() const { return round_ns_; }
  // After an error: nothing of what was read is relied on.
  void forget_all();

 private:
  bool read(std::span<const Ask> asks);
  void put(int32_t sequence, std::span<const int32_t> tokens, size_t n, bool is_prompt);
  bool run();

  Runner& runner_;
  int32_t vocab_size_;
  Clock clock_;
  std::vector<std::vector<int32_t>> cached_;  // per sequence: what the runner holds
  std::vector<BatchToken> batch_;
  std::vector<size_t> wanting_;  // asks whose logits the batch asks for
  double round_ns_ = 0;
};

}  // namespace olx::engine
