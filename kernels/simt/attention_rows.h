#pragma once
// What attention works on, without its arithmetic: spans of positions, what a token sees of them,
// and the rows of a tile. Used by attention_tile.h and attention.h.

#include "kernels/simt/simt.h"

namespace olx::kernels::simt {

constexpr int kTileRows = 16;

// Of positions, or of segments: 32 bits, as positions have.
struct Span {
  int from;
  int to;
  constexpr int size() const { return to - from; }
  constexpr bool has(int i) const { return from <= i && i < to; }
  constexpr int nearest(int i) const { return i < from ? from : i < to ? i : to - 1; }
};

constexpr int clamped(int i, int most) { return i < 0 ? 0 : i < most ? i : most; }

constexpr Span visible(const AttentionArgs& args, int64_t token) {
  const int position = args.tokens[token].position;
  const bool has_start = args.sliding_window > 0 && args.sliding_window <= position;
  return {has_start ? position + 1 - static_cast<int>(args.sliding_window) : 0, position + 1};
}
constexpr Span hull(Span a, Span b) {
  return {a.from < b.from ? a.from : b.from, a.to > b.to ? a.to : b.to};
}
constexpr Span common(Span a, Span b) {
  return {a.from > b.from ? a.from : b.from, a.to < b.to ? a.to : b.to};
}

// What of a span lies in the segment from `start` on, counted from there.
constexpr Span part_of(Span span, int start) {
  constexpr int kSize = static_cast<int>(kAttentionSegment);
  return {clamped(span.from - start, kSize), clamped(span.to - start, kSize)};
}

// Which rows a tile has: n_heads query heads of each of n_tokens tokens.
struct AttentionRows {
  int kv_head;
  int token;  // the first
  int n_tokens;
  int head;  // the first
  int n_heads;
  int sequence;
  Span seen;  // by any of the tokens
  constexpr int size() const { return n_tokens * n_heads; }
  constexpr int token_of(int row) const { return token + row / n_heads; }
  constexpr int head_of(int row) const { return head + row % n_heads; }
};

}  // namespace olx::kernels::simt
