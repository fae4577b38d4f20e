#pragma once
// TokenConstraint: which tokens may come next in one answer. The scheduler asks it for each token of a sequence that has a
// grammar; it turns the Matcher's bytes into tokens through the vocabulary's trie. One per sequence, on one thread.

#include <cstdint>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include "engine/grammar/matcher.h"
#include "engine/grammar/token_trie.h"

namespace olx::engine {

class TokenConstraint {
 public:
  // Both must outlive this. EngineError(kInvalidRequest) where the first byte already has too many ways to be read.
  TokenConstraint(std::shared_ptr<const Network> network, const TokenTrie& trie, const Tokenizer& tokenizer,
                  const MatcherLimits& limits = {});
  // Control tokens that count as text.
  void set_marks(std::span<const int32_t> marks);

  // Whether the token may be next; one that ends the generation where the grammar may end.
  bool allows(int32_t token);
  // Sets the logits of all others to -inf. False: nothing is allowed (logits are left as they were).
  bool mask(std::span<float> logits);
  // Takes an allowed token.
  void accept(int32_t token);
  // The answer is whole and nothing may follow.
  bool is_complete() const { return matcher_.is_complete(state_); }
  // The reason for an answer that cannot go on, for its reader.
  const char* dead_end() const;

 private:
  using Mask = std::vector<uint64_t>;
  Matcher::State walk(Matcher::State state, std::string_view bytes);
  std::string bytes_of(int32_t token) const;
  const Mask& mask_of_state();

  Matcher matcher_;
  const TokenTrie& trie_;
  const Tokenizer& tokenizer_;
  std::vector<int32_t> marks_;  // sorted
  Matcher::State state_;
  std::unordered_map<Matcher::State, Mask> masks_;  // of states met before
  std::vector<Matcher::State> path_;                // used by mask_of_state
};

}  // namespace olx::engine
