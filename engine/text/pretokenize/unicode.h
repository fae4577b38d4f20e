#pragma once
// What the tokenizers ask of Unicode: reading UTF-8, character classes of the pre-tokenizer rules,
// NFD and lower case for BERT. The character database is utf8proc's; no tables live here. Used
// inside engine/text only.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace olx::engine {

inline constexpr uint32_t kReplacementChar = 0xFFFD;

struct Utf8Char {
  uint32_t code = kReplacementChar;
  uint32_t n_bytes = 1;
  bool valid = false;
};

// The character at text[pos] (pos < size). Overlong forms, surrogates and values above U+10FFFF are
// invalid; an invalid byte is one "character" of one byte, so that a walk covers every byte once.
Utf8Char decode_utf8(std::string_view text, size_t pos);
bool is_utf8(std::string_view text);
void append_utf8(std::string& out, uint32_t code);
// How many bytes at text[pos] are a well-formed but unfinished character that ends with the text; 0
// when none.
size_t incomplete_utf8(std::string_view text, size_t pos);
// How many bytes at text[pos], where no well-formed character starts, one U+FFFD replaces: the
// maximal subpart, as Unicode 15 section 3.9 recommends.
size_t wrong_utf8(std::string_view text, size_t pos);

// Classes of a character, as bits. Names follow the general categories of the Unicode Character
// Database.
inline constexpr uint32_t kLetter = 1u << 21;       // L*
inline constexpr uint32_t kNumber = 1u << 22;       // N*
inline constexpr uint32_t kPunctuation = 1u << 23;  // P*
inline constexpr uint32_t kSymbol = 1u << 24;       // S*
inline constexpr uint32_t kMark = 1u << 25;         // M*
inline constexpr uint32_t kSpace = 1u << 26;        // White_Space
inline constexpr uint32_t kUpperLike =
    1u << 27;  // Lu Lt Lm Lo M: what may stand before the lower-case part of a word
inline constexpr uint32_t kLowerLike = 1u << 28;  // Ll Lm Lo M
inline constexpr uint32_t kInvalid = 1u
                                     << 29;  // a byte that is not part of a well-formed character
inline constexpr uint32_t kCodeMask = (1u << 21) - 1;

uint32_t char_class(uint32_t code);

// A text as one word per character: code point in the low 21 bits, classes above.
using ClassifiedText = std::vector<uint32_t>;
void classify(std::string_view text, ClassifiedText& out);
// Bytes that a classified character took in the text.
inline size_t n_utf8_bytes(uint32_t c) {
  if (c & kInvalid) return 1;
  const uint32_t code = c & kCodeMask;
  return code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
}

bool is_white_space(uint32_t code);
bool is_nonspacing_mark(uint32_t code);    // Mn
bool is_control_or_format(uint32_t code);  // Cc Cf Co

// Canonical decomposition (NFD) of a text, O(n log n) in the worst case.
void decompose(std::vector<uint32_t>& codes);
// Unicode lower case of one character, without context; may be two characters.
void append_lower(std::vector<uint32_t>& out, uint32_t code);

}  // namespace olx::engine
