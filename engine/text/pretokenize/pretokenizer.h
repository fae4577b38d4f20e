#pragma once
// Pre-tokenizers of byte-level BPE: they cut a text into words before merging, as the regular
// expression of each model says. Used by tokenizer_bpe.cpp. Every rule is a hand-written scanner
// that takes O(length); no regular expression engine is involved.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "engine/text/pretokenize/unicode.h"

namespace olx::engine {

// Part of a classified text, with reads past its end allowed.
struct TextWindow {
  static constexpr uint32_t kEnd = kCodeMask | 1u << 30;  // no class; not a code point
  const uint32_t* chars;
  size_t n_chars;
  uint32_t at(size_t i) const { return i < n_chars ? chars[i] : kEnd; }
  uint32_t code(size_t i) const { return at(i) & kCodeMask; }
};

// Cuts a window into pieces and appends their ends, each plus `base`. The last end is base +
// n_chars.
using SplitStage = void (*)(TextWindow window, size_t base, std::vector<size_t>& ends);

struct PreTokenizer {
  std::span<const SplitStage> stages;  // each is applied to every piece that the one before it left
  bool ignores_merges = false;         // a word that is a token as a whole is taken without merging
  bool adds_bos = false;               // default of add_bos_token
};

// By the name in tokenizer.ggml.pre; nullptr when unknown.
const PreTokenizer* find_pretokenizer(std::string_view name);

// Ends of the words of a text (in characters); the last is text.size(). `scratch` saves allocations
// between calls.
void split_words(const PreTokenizer& rule, const ClassifiedText& text, std::vector<size_t>& ends,
                 std::vector<size_t>& scratch);

}  // namespace olx::engine
