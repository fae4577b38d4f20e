#pragma once
// NgramIndex: where the last n tokens of a growing text stood before. Used by PromptLookup; it
// keeps places, not tokens. One look-up and one insertion a token, each of bounded cost whatever
// the tokens are.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace olx::engine {

class NgramIndex {
 public:
  explicit NgramIndex(size_t n) : n_(n) {}

  // `text` is what the last call got and at most one token more (all calls in order, from the empty
  // text on). The end of the latest earlier place whose n tokens are the last n of `text`:
  // text[result] is what followed there. 0: there is none.
  size_t advance(std::span<const int32_t> text);

  size_t size_bytes() const { return places_.size() * sizeof(int32_t); }

 private:
  void grow(std::span<const int32_t> text);
  // The entry that holds an equal n-gram, or where it belongs.
  int32_t& entry(std::span<const int32_t> text, size_t end);

  size_t n_;
  size_t n_entries_ = 0;
  std::vector<int32_t> places_;  // ends of n-grams; 0: empty. A power of two, at most half full
};

}  // namespace olx::engine
