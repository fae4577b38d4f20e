#pragma once
// Scanners of the pre-tokenizer rules. Each match function returns where the match that starts at
// `pos` ends, or `pos` when there is none, with the leftmost-alternative-first meaning of a
// backtracking regular expression, in time linear in what it reads. Used by pretokenizer.cpp alone,
// which says which model has which.

#include <algorithm>

#include "engine/text/pretokenize/pretokenizer.h"

namespace olx::engine::scan {

inline bool is_any(uint32_t c, uint32_t classes) { return (c & classes) != 0; }
inline bool is_end(uint32_t c) { return c == TextWindow::kEnd; }
inline bool is_newline(uint32_t c) { return (c & kCodeMask) == '\n' || (c & kCodeMask) == '\r'; }
inline bool is_ascii_letter(uint32_t code) { return (code | 0x20) >= 'a' && (code | 0x20) <= 'z'; }

// [^\s…] with the classes to exclude
inline bool is_none(uint32_t c, uint32_t classes) { return !is_end(c) && (c & classes) == 0; }

inline size_t run_of(TextWindow w, size_t pos, uint32_t classes) {
  while (is_any(w.at(pos), classes)) ++pos;
  return pos;
}

// 's 't 'm 'd 're 've 'll. Case-insensitive matching folds U+017F (long s) to s, as Unicode simple
// case folding does.
template <bool kIgnoreCase>
size_t contraction(TextWindow w, size_t pos) {
  if (w.code(pos) != '\'') return pos;
  const auto letter = [&](size_t i) -> uint32_t {
    const uint32_t code = w.code(i);
    if (!kIgnoreCase) return code;
    if (code == 0x17F) return 's';
    return is_ascii_letter(code) ? code | 0x20 : code;
  };
  const uint32_t a = letter(pos + 1);
  if (a == 's' || a == 't' || a == 'm' || a == 'd') return pos + 2;
  const uint32_t b = letter(pos + 2);
  if ((a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l')) return pos + 3;
  return pos;
}

// \s+(?!\S)|\s+ : a run of spaces leaves its last one to the word behind it.
inline size_t spaces_before_word(TextWindow w, size_t pos) {
  const size_t end = run_of(w, pos, kSpace);
  return end - pos > 1 && end < w.n_chars ? end - 1 : end;
}

// \s*[\r\n]+|\s+(?!\S)|\s+
inline size_t newlines_or_spaces(TextWindow w, size_t pos) {
  size_t end = pos, newline_end = pos;
  for (; is_any(w.at(end), kSpace); ++end) {
    if (is_newline(w.at(end))) newline_end = end + 1;
  }
  if (newline_end > pos) return newline_end;
  return end - pos > 1 && end < w.n_chars ? end - 1 : end;
}

// GPT-2: 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
inline size_t gpt2_word(TextWindow w, size_t pos) {
  if (const size_t end = contraction<false>(w, pos); end > pos) return end;
  const size_t start = w.code(pos) == ' ' ? pos + 1 : pos;
  const uint32_t c = w.at(start);
  if (is_any(c, kLetter)) return run_of(w, start, kLetter);
  if (is_any(c, kNumber)) return run_of(w, start, kNumber);
  if (is_none(c, kSpace | kLetter | kNumber)) {
    size_t end = start;
    while (is_none(w.at(end), kSpace | kLetter | kNumber)) ++end;
    return end;
  }
  return spaces_before_word(w, pos);
}

// The family that began with cl100k (tiktoken) and Llama 3; what differs between its members.
struct WordRule {
  enum class Contraction { kNone, kOwnWord, kSuffix };
  enum class Tail { kNone, kNewlines, kNewlinesSlashes };  // what may follow a run of punctuation
  Contraction contraction = Contraction::kOwnWord;
  bool is_cased = false;       // words end where lower case turns to upper case
  uint32_t letters = kLetter;  // what words consist of, where not cased
  size_t max_digits = 3;       // 0: any number
  Tail tail = Tail::kNewlines;
};

// [U]*[W]+|[U]+[W]* with U = upper-like, W = lower-like (they share Lm, Lo and M), greedy with
// backtracking, from `start`.
inline size_t cased_run(TextWindow w, size_t start, bool needs_lower) {
  const size_t upper_end = run_of(w, start, kUpperLike);
  if (is_any(w.at(upper_end), kLowerLike)) return run_of(w, upper_end, kLowerLike);
  if (!needs_lower) return upper_end;
  for (size_t k = upper_end; k > start; --k) {
    if (is_any(w.at(k - 1), kLowerLike)) return k;
  }
  return start;
}

// [^\r\n\p{L}\p{N}]?[U]*[W]+ , then [^\r\n\p{L}\p{N}]?[U]+[W]* ; each tries its optional first
// character before going without.
inline size_t cased_word(TextWindow w, size_t pos) {
  const uint32_t c = w.at(pos);
  const bool may_lead = !is_newline(c) && is_none(c, kLetter | kNumber);
  for (const bool needs_lower : {true, false}) {
    if (may_lead) {
      if (const size_t end = cased_run(w, pos + 1, needs_lower); end > pos + 1) return end;
    }
    if (const size_t end = cased_run(w, pos, needs_lower); end > pos) return end;
  }
  return pos;
}

inline size_t plain_word(TextWindow w, size_t pos, uint32_t letters) {
  const uint32_t c = w.at(pos);
  if (is_any(c, letters)) return run_of(w, pos, letters);
  if (!is_newline(c) && is_none(c, kLetter | kNumber) && is_any(w.at(pos + 1), letters))
    return run_of(w, pos + 1, letters);
  return pos;
}

// (?i:'s|…)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
// and its relatives
template <WordRule kRule>
size_t word(TextWindow w, size_t pos) {
  if constexpr (kRule.contraction == WordRule::Contraction::kOwnWord) {
    if (const size_t end = contraction<true>(w, pos); end > pos) return end;
  }
  if constexpr (kRule.is_cased) {
    if (const size_t end = cased_word(w, pos); end > pos) {
      return kRule.contraction == WordRule::Contraction::kSuffix ? contraction<true>(w, end) : end;
    }
  } else {
    if (const size_t end = plain_word(w, pos, kRule.letters); end > pos) return end;
  }
  if (is_any(w.at(pos), kNumber)) {
    size_t end = pos;
    while (is_any(w.at(end), kNumber) && (kRule.max_digits == 0 || end - pos < kRule.max_digits))
      ++end;
    return end;
  }
  constexpr uint32_t kNotPunctuation =
      kSpace | kNumber | (kRule.is_cased ? kLetter : kRule.letters);
  size_t end = w.code(pos) == ' ' ? pos + 1 : pos;
  if (is_none(w.at(end), kNotPunctuation)) {
    while (is_none(w.at(end), kNotPunctuation)) ++end;
    if constexpr (kRule.tail != WordRule::Tail::kNone) {
      const bool takes_slash = kRule.tail == WordRule::Tail::kNewlinesSlashes;
      while (is_newline(w.at(end)) || (takes_slash && w.code(end) == '/')) ++end;
    }
    return end;
  }
  return newlines_or_spaces(w, pos);
}

// DeepSeek-V3: [!-/:-@[-`{-~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+|
// ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
inline size_t deepseek3_word(TextWindow w, size_t pos) {
  const uint32_t c = w.at(pos);
  if (w.code(pos) < 128 && is_any(c, kPunctuation | kSymbol) && is_ascii_letter(w.code(pos + 1))) {
    size_t end = pos + 1;
    while (is_ascii_letter(w.code(end))) ++end;
    return end;
  }
  if (is_any(c, kLetter | kMark)) return run_of(w, pos, kLetter | kMark);
  if (!is_newline(c) && is_none(c, kLetter | kPunctuation | kSymbol) &&
      is_any(w.at(pos + 1), kLetter | kMark)) {
    return run_of(w, pos + 1, kLetter | kMark);
  }
  const size_t start = w.code(pos) == ' ' ? pos + 1 : pos;
  if (size_t end = run_of(w, start, kPunctuation | kSymbol); end > start) {
    while (is_newline(w.at(end))) ++end;
    return end;
  }
  return newlines_or_spaces(w, pos);
}

// \p{N} (kMax 1), \p{N}{1,3} (kMax 3), \p{N}+ (kMax 0)
template <size_t kMax>
size_t digits(TextWindow w, size_t pos) {
  size_t end = pos;
  while (is_any(w.at(end), kNumber) && (kMax == 0 || end - pos < kMax)) ++end;
  return end;
}

// [0-9][0-9][0-9]
inline size_t three_ascii_digits(TextWindow w, size_t pos) {
  for (size_t i = pos; i < pos + 3; ++i) {
    if (w.code(i) < '0' || w.code(i) > '9') return pos;
  }
  return pos + 3;
}

// [\p{P}\$\+<=>\^~\|]+ , with the back-quote for Falcon
template <bool kBackQuote>
size_t punctuation_run(TextWindow w, size_t pos) {
  while (is_any(w.at(pos), kPunctuation) ||
         (w.code(pos) < 128 && is_any(w.at(pos), kSymbol) && (kBackQuote || w.code(pos) != '`'))) {
    ++pos;
  }
  return pos;
}

// [\r\n]
inline size_t one_newline(TextWindow w, size_t pos) {
  return is_newline(w.at(pos)) ? pos + 1 : pos;
}

// \s?\p{L}+ or \s?\p{P}+
template <uint32_t kClasses>
size_t space_and_run(TextWindow w, size_t pos) {
  const size_t start = is_any(w.at(pos), kSpace) ? pos + 1 : pos;
  const size_t end = run_of(w, start, kClasses);
  return end > start ? end : pos;
}

struct Range {
  uint32_t first, last;
};
inline bool is_in(std::span<const Range> ranges, uint32_t code) {
  const auto after =
      std::upper_bound(ranges.begin(), ranges.end(), code,
                       [](uint32_t value, const Range& r) { return value < r.first; });
  return after != ranges.begin() && code <= std::prev(after)->last;
}
inline size_t run_in(TextWindow w, size_t pos, std::span<const Range> ranges) {
  while (pos < w.n_chars && is_in(ranges, w.code(pos))) ++pos;
  return pos;
}

// ` ?[^(\s|.,!?…。，、।۔،)]+` of BLOOM and its relatives
inline size_t bloom_word(TextWindow w, size_t pos) {
  static constexpr uint32_t kExcluded[] = {'(',    ')',    '|',    '.',    ',',   '!',   '?',
                                           0x2026, 0x3002, 0xFF0C, 0x3001, 0x964, 0x6D4, 0x60C};
  const auto is_word = [&](size_t i) {
    return is_none(w.at(i), kSpace) &&
           std::find(std::begin(kExcluded), std::end(kExcluded), w.code(i)) == std::end(kExcluded);
  };
  const size_t start = w.code(pos) == ' ' ? pos + 1 : pos;
  size_t end = start;
  while (is_word(end)) ++end;
  return end > start ? end : pos;
}

}  // namespace olx::engine::scan
