#pragma once
// SpecialTokens: which ids have a role (BOS, EOS, end of generation …), and where their spellings
// stand in a text. Used by TokenizerBase. Finding is leftmost-longest, as in Hugging Face's added
// tokens and sentencepiece's user-defined ones.

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "engine/text/vocabulary/vocabulary.h"

namespace olx::engine {

// Finds the spellings of a set of tokens in a text, by narrowing a sorted list byte by byte.
class SpellingMatcher {
 public:
  // Spellings longer than this are not looked for, which bounds the work at each position of a
  // text.
  static constexpr size_t kMaxSpellingBytes = 256;

  struct Match {
    size_t pos = 0;
    size_t n_bytes = 0;  // 0: no match to the end of the text
    int32_t id = Vocabulary::kNone;
  };

  SpellingMatcher() = default;
  SpellingMatcher(const Vocabulary& vocabulary, std::vector<int32_t> ids);
  Match next(const Vocabulary& vocabulary, std::string_view text, size_t pos) const;

 private:
  std::vector<int32_t> ids_;                // sorted by spelling
  std::array<uint32_t, 257> first_byte_{};  // where spellings that start with byte b begin in ids_
};

struct SpecialTokens {
  std::optional<int32_t> bos, eos, eot, eom, unknown, separator, classify;
  std::vector<int32_t> end_of_generation;  // sorted
  std::vector<int32_t>
      ordinary_look_alikes;  // kNormal, but special where special tokens are parsed

  // Reads tokenizer.ggml.*_token_id and looks for known spellings. Tokens whose spelling ends a
  // turn or marks a place in code become control tokens where the file calls them user-defined, so
  // that a text cannot contain them by accident. Throws gguf::FormatError for an id outside the
  // vocabulary.
  SpecialTokens(const gguf::GgufFile& file, Vocabulary& vocabulary);
};

}  // namespace olx::engine
