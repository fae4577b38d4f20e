#pragma once
// The integer matmul of panels (panel.h) with a few tokens: a panel is unpacked in registers as it comes from memory, for a
// tile of tokens at a time. Most memories give most to one stream: two panels at a time are slower. Where they give more to
// several (memory_streams.h), one token is multiplied with four panels at a time. More tokens: panel_block.h.
// Written once over the lanes of an instruction set: a file of kernels includes its lanes.h before this. Internal linkage.
//
// Integer sums are exact; the scale of weight and token is applied per sub-block in f32, in the same order in both files: the
// bits of a token do not depend on the path.
//
// What it costs: 8 dot products of 4 columns for 32 columns of a token and kRows rows, and behind them a multiplication for the
// scale and an fma, with a minimum another fma. Where dot products and f32 arithmetic share their ports, as in Zen 4, Zen 5 and
// Intel's server cores, 8 of 10 or 11 operations are dot products: 80 or 73 % of their peak is the most there is.
//
// Lanes, beside what panel_formats.h asks for:
//   Ints               kRows int32
//   kTileColumns       tokens times terms of a tile: their products and sums stay in registers
//   kTileColumns16     the same where scales are per 16 columns
//   kFewTokens         tokens times terms up to which this file is faster than the unpacking of panel_block.h
//   kTileTokens        tokens of a tile there
//   Tile               what sums up the products of one there
//   kBlockTokens       tokens of a block there, at most
//   kSecondLevelBytes  of the cache that holds a block's activations and some panels
//   kPrefetchBytes     how far ahead panels are fetched; 0: the processor does it
//   kStreams           panels at a time for one token where prefers_streams(); 1: never
//   set(float) set(int32_t) set(const uint8_t* four codes) to_floats(Ints)
//   sum(a, b)   fma(a, b, c): c + a b   fnma(a, b, c): c - a b   minus_shifted(a, b, n): a - b 2^n, of Ints
//   load_rows(p, n) store_rows(p, n, y): the first n of kRows, or all
// Products<Format>: sums of products of codes and int8 activations, of a sub-block or a half of it
//   add(g, w, a)       group g of it, in order from 0
//   ints()

#include <cstdint>

#include "kernels/api/args.h"
#include "kernels/cpu/activation_q8.h"
#include "kernels/cpu/panel_formats.h"

namespace olx::kernels::cpu {
namespace {

using Ints = Lanes::Ints;

template <typename Format>
constexpr int kHalvesOf = Format::kIsPer16 ? 2 : 1;

// y + w d dot - m d sum: a sub-block, or a half of it, of the token `n` behind x's.
template <typename Format>
inline Floats add_scaled(Floats y, Floats w, Floats m, Ints dot, const Q8Scales& x, int n, int half) {
  if constexpr (Format::kOffset > 0) {
    constexpr int kShift = __builtin_ctz(Format::kOffset > 0 ? Format::kOffset : 1);
    const Ints sum = Format::kIsPer16 ? Lanes::set(half == 0 ? x.lo[n] : x.hi[n]) : Lanes::sum(Lanes::set(x.lo[n]), Lanes::set(x.hi[n]));
    dot = Lanes::minus_shifted(dot, sum, kShift);
  }
  y = Lanes::fma(Lanes::mul(w, Lanes::set(x.d[n])), Lanes::to_floats(dot), y);
  if constexpr (Format::kHasMinimum) {
    if constexpr (Format::kIsPer16)
      y = Lanes::fnma(m, Lanes::mul(Lanes::to_floats(Lanes::set(half == 0 ? x.lo[n] : x.hi[n])), x.d[n]), y);
    else
      y = Lanes::fnma(m, Lanes::set(x.all[n]), y);
  }
  return y;
}

// y, bias and residual of a panel's rows, fewer at the end of the matrix. With two terms the second
// is added last.
inline Floats with_bias_and_residual(const MatmulArgs& args, int64_t row, int64_t token, Floats y) {
  const int64_t n = args.w.n_rows - row;
  if (args.bias) y = Lanes::sum(y, Lanes::load_rows(args.bias + row, n));
  if (args.residual) y = Lanes::sum(y, Lanes::load_rows(args.residual + token * args.y.row_stride_elems + row, n));
  return y;
}
inline void store(const MatmulArgs& args, int64_t row, int64_t token, Floats y) {
  Lanes::store_rows(args.y.data + token * args.y.row_stride_elems + row, args.w.n_rows - row, y);
}

// The processor fetches ahead within a page of 4 KiB, this across its end (past a matrix it is a
// hint about nothing). A few lines at a time, between products: many at once hold up the loads
// behind them. Inlined by force: GCC 12 takes a function that only fetches for one without effect and drops its calls.
inline __attribute__((always_inline)) void prefetch(const uint8_t* base, int64_t from, int64_t to) {
#pragma GCC unroll 64
  for (int64_t i = from; i < to; i += 64) __builtin_prefetch(base + i);
}
template <int64_t kBytes>
inline __attribute__((always_inline)) void prefetch(const uint8_t* base) {
  prefetch(base, 0, kBytes);
}

// As __builtin_prefetch(p), in the order of the program: the compiler moves nothing past a volatile asm.
inline __attribute__((always_inline)) void fetch_now(const uint8_t* p) {
#if defined(__x86_64__)
  asm volatile("prefetcht0 %0" : : "m"(*p));
#else
  __builtin_prefetch(p);
#endif
}

// How far ahead of what is multiplied a panel is fetched: further where codes stand in two places of a block.
template <typename Format>
constexpr int64_t kAheadBytes = Lanes::kPrefetchBytes +
                                (Format::kHasHighBits ? chunk_size_bytes(panel_shape(Format::kDType), kChunkCols, kRows) : 0);

// Tokens times terms of a tile. With scales per 16 columns products are converted twice as often: fewer tokens, and a
// block is read from the first cache level a second time, are faster.
template <typename Format>
constexpr int kTileColumns = Format::kIsPer16 ? Lanes::kTileColumns16 : Lanes::kTileColumns;

// How the tokens of a group are cut into tiles that are as even as can be; the last one begins
// early enough to be full.
template <typename Format, int kTokens, int kTerms>
struct Tiles {
  static constexpr bool kTermsTogether = kTokens * kTerms <= kTileColumns<Format>;
  static constexpr int kOfTerm = (kTokens + kTileColumns<Format> - 1) / kTileColumns<Format>;
  static constexpr int kCount = kTermsTogether ? 1 : kOfTerm * kTerms;
  static constexpr int kTokensOfTile = (kTokens + kOfTerm - 1) / kOfTerm;
  static constexpr int kTermsOfTile = kTermsTogether ? kTerms : 1;
  static constexpr int kColumns = kTokensOfTile * kTermsOfTile;
  static constexpr int first_term(int tile) { return kTermsTogether ? 0 : tile / kOfTerm; }
  static constexpr int first_token(int tile) {
    const int token = tile % kOfTerm * kTokensOfTile;
    return token < kTokens - kTokensOfTile ? token : kTokens - kTokensOfTile;
  }
};

// Adds a block of a panel times the tokens of a tile from `first` on. x: the block's
// columns of the group, in each term of the tile. sums: term by term.
template <typename Format, int kTokens, typename Tile>
inline __attribute__((always_inline)) void add_block(const uint8_t* scales, const uint8_t* codes, const uint8_t* const* x, int64_t first,
                                                     bool is_first_tile, Floats (&sums)[Tile::kColumns]) {
  constexpr int kHalves = kHalvesOf<Format>, kGroups = 8 / kHalves;
#pragma GCC unroll 8
  for (int sub = 0; sub < Format::kSubBlocks; ++sub) {
    constexpr int64_t kStride = kQ8BytesPerTokenBlock * kTokens;
#pragma GCC unroll 2
    for (int half = 0; half < kHalves; ++half) {
      Products<Format> products[Tile::kColumns];
#pragma GCC unroll 8
      for (int g = 0; g < kGroups; ++g) {
        const Bytes q = Format::codes(codes, sub, half * kGroups + g);
        if constexpr (Lanes::kPrefetchBytes > 0) {
          constexpr int64_t kShare = panel_shape(Format::kDType).code_bytes * kRows / Format::kSubBlocks;
          const int64_t from = kShare * (half * kGroups + g) / 8 / 64 * 64, to = kShare * (half * kGroups + g + 1) / 8 / 64 * 64;
          if (is_first_tile) prefetch(codes + kAheadBytes<Format> + sub * kShare, from, to);
        }
#pragma GCC unroll 8
        for (int c = 0; c < Tile::kColumns; ++c) {
          const uint8_t* of_term = x[c / Tile::kTokensOfTile] + sub * kStride + 4 * first;
          const Bytes a = Lanes::set(of_term + ((half * kGroups + g) * kTokens + c % Tile::kTokensOfTile) * 4);
          products[c].add(g, q, a);
        }
      }
      Floats w, m;
      Format::scales(scales, sub, half, w, m);
#pragma GCC unroll 8
      for (int c = 0; c < Tile::kColumns; ++c) {
        const Q8Scales of_term = q8_scales(x[c / Tile::kTokensOfTile] + sub * kStride, kTokens, first);
        sums[c] = add_scaled<Format>(sums[c], w, m, products[c].ints(), of_term, c % Tile::kTokensOfTile, half);
      }
    }
  }
}

// The panel at `row` times a group of kTokens tokens. group: its start in each term.
template <typename Format, int kTokens, int kTerms>
inline void panel_times_group(const MatmulArgs& args, int64_t row, int64_t token, const uint8_t* const (&group)[kTerms]) {
  using Tile = Tiles<Format, kTokens, kTerms>;
  constexpr PanelShape kShape = panel_shape(Format::kDType);
  constexpr int64_t kScaleBytes = chunk_scale_bytes(kShape, kChunkCols, kRows), kBytes = chunk_size_bytes(kShape, kChunkCols, kRows);
  const int64_t n_cols = args.w.n_cols;
  const uint8_t* chunk = static_cast<const uint8_t*>(args.w.data) + row / kRows * panel_size_bytes(kShape, n_cols, kRows);
  const uint8_t* x[kTerms];
  for (int term = 0; term < kTerms; ++term) x[term] = group[term];
  Floats sums[Tile::kCount][Tile::kColumns];
  for (auto& of_tile : sums)
#pragma GCC unroll 8
    for (Floats& y : of_tile) y = Lanes::zero();
  for (int64_t col = 0; col < n_cols; col += kChunkCols, chunk += kBytes) {
    if constexpr (Lanes::kPrefetchBytes > 0) prefetch<kScaleBytes>(chunk + kAheadBytes<Format>);
    const int64_t chunk_cols = n_cols - col < kChunkCols ? n_cols - col : kChunkCols;
    const uint8_t* scales = chunk;
    const uint8_t* codes = chunk + (chunk_cols == kChunkCols ? kScaleBytes : chunk_scale_bytes(kShape, chunk_cols, kRows));
    for (int64_t in_chunk = 0; in_chunk < chunk_cols; in_chunk += kShape.block_elems) {
      for (int tile = 0; tile < Tile::kCount; ++tile)
        add_block<Format, kTokens, Tile>(scales, codes, x + Tile::first_term(tile), Tile::first_token(tile), tile == 0, sums[tile]);
#pragma GCC unroll 2
      for (const uint8_t*& block : x) block += Format::kSubBlocks * kQ8BytesPerTokenBlock * kTokens;
      scales += kShape.scale_bytes * kRows;
      codes += kShape.code_bytes * kRows;
    }
  }
  for (int n = 0; n < kTokens; ++n) {
    constexpr int kLast = Tile::kOfTerm - 1;
    const int tile = n >= Tile::first_token(kLast) ? kLast : n / Tile::kTokensOfTile, column = n - Tile::first_token(tile);
    Floats y = with_bias_and_residual(args, row, token + n, sums[tile][column]);
    if constexpr (kTerms == 2) y = Lanes::sum(Tile::kTermsTogether ? sums[0][kTokens + column] : sums[Tile::kOfTerm + tile][column], y);
    store(args, row, token + n, y);
  }
}

// Groups of 1 to kTokens tokens.
template <typename Format, int kTerms, int kTokens>
inline void panel_times_any_group(const MatmulArgs& args, int64_t row, int64_t token, int64_t n_tokens,
                                  const uint8_t* const (&group)[kTerms]) {
  if constexpr (kTokens > 1)
    if (n_tokens < kTokens) return panel_times_any_group<Format, kTerms, kTokens - 1>(args, row, token, n_tokens, group);
  panel_times_group<Format, kTokens, kTerms>(args, row, token, group);
}

// kStreams panels from `row` on times one token, chunk by chunk. A chunk of each is fetched just before, line by line of all in
// turn: at once and in this order, which an asm keeps the compiler from changing. sums stay in registers: loops over panels are
// unrolled.
template <typename Format, int kTerms>
inline void panels_times_token(const MatmulArgs& args, int64_t row, const uint8_t* const (&token)[kTerms]) {
  using Tile = Tiles<Format, 1, kTerms>;
  static_assert(Tile::kCount == 1);
  constexpr PanelShape kShape = panel_shape(Format::kDType);
  constexpr int64_t kScaleBytes = chunk_scale_bytes(kShape, kChunkCols, kRows), kBytes = chunk_size_bytes(kShape, kChunkCols, kRows);
  const int64_t n_cols = args.w.n_cols, panel_bytes = panel_size_bytes(kShape, n_cols, kRows);
  const uint8_t* chunk = static_cast<const uint8_t*>(args.w.data) + row / kRows * panel_bytes;
  Floats sums[Lanes::kStreams][kTerms];
#pragma GCC unroll 4
  for (auto& of_panel : sums)
#pragma GCC unroll 2
    for (Floats& y : of_panel) y = Lanes::zero();
  for (int64_t col = 0; col < n_cols; col += kChunkCols, chunk += kBytes) {
    const int64_t chunk_cols = n_cols - col < kChunkCols ? n_cols - col : kChunkCols;
    const auto fetch_line = [&](int64_t i) __attribute__((always_inline)) {
#pragma GCC unroll 4
      for (int p = 0; p < Lanes::kStreams; ++p) fetch_now(chunk + p * panel_bytes + i);
    };
    if (chunk_cols == kChunkCols)
#pragma GCC unroll 128
      for (int64_t i = 0; i < kBytes; i += 64) fetch_line(i);
    else
      for (int64_t i = 0; i < chunk_size_bytes(kShape, chunk_cols, kRows); i += 64) fetch_line(i);
    const int64_t scale_bytes = chunk_cols == kChunkCols ? kScaleBytes : chunk_scale_bytes(kShape, chunk_cols, kRows);
#pragma GCC unroll 4
    for (int p = 0; p < Lanes::kStreams; ++p) {
      const uint8_t* x[kTerms];
#pragma GCC unroll 2
      for (int term = 0; term < kTerms; ++term) x[term] = token[term] + col / kQ8BlockCols * kQ8BytesPerTokenBlock;
      const uint8_t* scales = chunk + p * panel_bytes;
      const uint8_t* codes = scales + scale_bytes;
      for (int64_t in_chunk = 0; in_chunk < chunk_cols; in_chunk += kShape.block_elems) {
        add_block<Format, 1, Tile>(scales, codes, x, 0, false, sums[p]);
#pragma GCC unroll 2
        for (const uint8_t*& block : x) block += Format::kSubBlocks * kQ8BytesPerTokenBlock;
        scales += kShape.scale_bytes * kRows;
        codes += kShape.code_bytes * kRows;
      }
    }
  }
#pragma GCC unroll 4
  for (int p = 0; p < Lanes::kStreams; ++p) {
    Floats y = with_bias_and_residual(args, row + p * kRows, 0, sums[p][0]);
    if constexpr (kTerms == 2) y = Lanes::sum(sums[p][1], y);
    store(args, row + p * kRows, 0, y);
  }
}

// Tokens up to which matmul_few is used.
template <int kTerms>
constexpr int kFewTokens = Lanes::kFewTokens / kTerms;

// Weights outside, groups of tokens inside: a panel stays in the first cache levels while every group passes by.
template <typename Format, int kTerms>
inline void matmul_few(const MatmulArgs& args, RowRange range) {
  constexpr int kTokens = kFewTokens<kTerms> < kQ8GroupTokens ? kFewTokens<kTerms> : kQ8GroupTokens;
  int64_t first = range.from;
  if constexpr (Lanes::kStreams > 1)
    if (args.x.n_tokens == 1 && Lanes::prefers_streams()) {
      const uint8_t* token[kTerms];
      for (int term = 0; term < kTerms; ++term)
        token[term] = static_cast<const uint8_t*>(args.x.data) + term * q8_matrix_bytes(1, args.w.n_cols);
      for (; first + (Lanes::kStreams - 1) * kRows < range.to; first += Lanes::kStreams * kRows)
        panels_times_token<Format, kTerms>(args, first, token);
    }
  for (int64_t row = first; row < range.to; row += kRows)
    for (int64_t token = 0; token < args.x.n_tokens; token += kQ8GroupTokens) {
      const uint8_t* group[kTerms];
      for (int term = 0; term < kTerms; ++term)
        group[term] = static_cast<const uint8_t*>(args.x.data) + term * q8_matrix_bytes(args.x.n_tokens, args.w.n_cols) +
                      q8_group_offset(token / kQ8GroupTokens, args.w.n_cols);
      panel_times_any_group<Format, kTerms, kTokens>(args, row, token, q8_group_size(token / kQ8GroupTokens, args.x.n_tokens), group);
    }
}

}  // namespace
}  // namespace olx::kernels::cpu
