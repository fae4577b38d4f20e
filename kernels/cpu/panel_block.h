#pragma once
// The integer matmul of panels with many tokens: the codes and scales of kPanels panels are
// unpacked once, a run of columns at a time, and multiplied with a block of tokens that stays in
// the second cache level. What is left of the loop over tokens is products and their sums. With two
// terms an activation ("q8_fine" of activation_q8.h) both are multiplied with what was unpacked
// once, and the second sum is added to the first. As panel_dot.h, over the
// lanes of an instruction set, with internal linkage.

#include "kernels/cpu/panel_dot.h"

namespace olx::kernels::cpu {
namespace {

constexpr int kPanels = 2;
constexpr int kTileTokens = Lanes::kTileTokens;
constexpr int kRunSubBlocks = 16;      // 512 columns
constexpr int kLongestSubBlocks = 24;  // of a run that ends a row: no short one behind it
constexpr int64_t kBlockTokens = Lanes::kBlockTokens;
constexpr int64_t kBlockActivationBytes = Lanes::kSecondLevelBytes / 2;
constexpr int64_t kBlockWeightBytes = Lanes::kSecondLevelBytes / 4;  // weights come from memory once

// Scales once for 32 columns, or once for each half of them.
template <typename Format>
struct UnpackedRun {
  Bytes codes[kLongestSubBlocks][8][kPanels];
  Floats w[kLongestSubBlocks][kHalvesOf<Format>][kPanels];
  Floats m[kLongestSubBlocks][kHalvesOf<Format>][kPanels];
};

// n_subs sub-blocks of one panel, whole chunks but for the last of a row. from: their first chunk. next: the run after this
// one, which is fetched meanwhile (past a matrix it is a hint about nothing).
template <typename Format>
inline void unpack(const uint8_t* from, const uint8_t* next, int64_t n_subs, int p, UnpackedRun<Format>& run) {
  constexpr PanelShape kShape = panel_shape(Format::kDType);
  constexpr int64_t kChunkSubBlocks = kChunkCols / kQ8BlockCols;
  for (int64_t first = 0; first < n_subs; first += kChunkSubBlocks) {
    const int64_t end = n_subs - first < kChunkSubBlocks ? n_subs : first + kChunkSubBlocks;
    const uint8_t* scales = from;
    const uint8_t* codes = from + chunk_scale_bytes(kShape, (end - first) * kQ8BlockCols, kRows);
    if constexpr (Lanes::kPrefetchBytes > 0) prefetch<chunk_scale_bytes(kShape, kChunkCols, kRows)>(scales + (next - from));
    for (int64_t at = first; at < end; at += Format::kSubBlocks) {
#pragma GCC unroll 8
      for (int sub = 0; sub < Format::kSubBlocks; ++sub) {
        constexpr int64_t kShare = kShape.code_bytes * kRows / Format::kSubBlocks;
        if constexpr (Lanes::kPrefetchBytes > 0) prefetch<kShare>(codes + (next - from) + sub * kShare);
#pragma GCC unroll 8
        for (int g = 0; g < 8; ++g) run.codes[at + sub][g][p] = Format::codes(codes, sub, g);
        using Tile = typename Lanes::template Tile<Format, 1>;
        if constexpr (Tile::kGroups == 2)
#pragma GCC unroll 4
          for (int g = 0; g < 8; g += 2) Tile::arrange(run.codes[at + sub][g][p], run.codes[at + sub][g + 1][p]);
#pragma GCC unroll 2
        for (int half = 0; half < kHalvesOf<Format>; ++half)
          Format::scales(scales, sub, half, run.w[at + sub][half][p], run.m[at + sub][half][p]);
      }
      scales += kShape.scale_bytes * kRows;
      codes += kShape.code_bytes * kRows;
    }
    from += chunk_size_bytes(kShape, kChunkCols, kRows);
    next += chunk_size_bytes(kShape, kChunkCols, kRows);
  }
}

// Sums of products of a tile, kTokens tokens and kPanels panels, over a sub-block or a half of it. Lanes::Tile is this one, or one
// of the instruction set's own:
//   kGroups                          groups of four columns that are multiplied together: 1 or 2
//   arrange(a, b)                    of 2: codes of two groups, as add() wants them
//   add(g, codes, dwords, stride)    groups from g on of it, in order from 0. codes[group][panel]; dwords: of the tile's tokens
//                                    in the first of them, those of the next `stride` dwords behind them
//   ints(n, p)                       sums of token n and the rows of panel p
template <typename Format, int kTokens>
class DotTile {
 public:
  static constexpr int kGroups = 1;
  __attribute__((always_inline)) void add(int g, const Bytes (*codes)[kPanels], const uint8_t* dwords, int64_t) {
#pragma GCC unroll 8
    for (int n = 0; n < kTokens; ++n) {
      const Bytes a = Lanes::set(dwords + 4 * n);
#pragma GCC unroll 2
      for (int p = 0; p < kPanels; ++p) products_[n][p].add(g, codes[0][p], a);
    }
  }
  Ints ints(int n, int p) const { return products_[n][p].ints(); }

 private:
  Products<Format> products_[kTokens][kPanels];
};

// y[token][panel], a token's vectors together. x: the block of the run's first sub-block in the
// tile's group.
template <typename Format, int kTokens>
inline void run_times_tile(const UnpackedRun<Format>& run, int64_t n_subs, const uint8_t* x, int64_t stride, int64_t first, Floats* y) {
  constexpr int kHalves = kHalvesOf<Format>, kGroups = 8 / kHalves;
  Floats sums[kTokens][kPanels];
#pragma GCC unroll 8
  for (int n = 0; n < kTokens; ++n)
#pragma GCC unroll 2
    for (int p = 0; p < kPanels; ++p) sums[n][p] = y[n * kPanels + p];
  for (int64_t sub = 0; sub < n_subs; ++sub, x += kQ8BytesPerTokenBlock * stride) {
    const Q8Scales x_scales = q8_scales(x, stride, first);
#pragma GCC unroll 2
    for (int half = 0; half < kHalves; ++half) {
      typename Lanes::template Tile<Format, kTokens> products;
#pragma GCC unroll 8
      for (int g = 0; g < kGroups; g += products.kGroups) {
        const uint8_t* dwords = x + ((half * kGroups + g) * stride + first) * 4;
        products.add(g, &run.codes[sub][half * kGroups + g], dwords, stride);
      }
#pragma GCC unroll 8
      for (int n = 0; n < kTokens; ++n)
#pragma GCC unroll 2
        for (int p = 0; p < kPanels; ++p)
          sums[n][p] = add_scaled<Format>(sums[n][p], run.w[sub][half][p], run.m[sub][half][p], products.ints(n, p), x_scales, n, half);
    }
  }
#pragma GCC unroll 8
  for (int n = 0; n < kTokens; ++n)
#pragma GCC unroll 2
    for (int p = 0; p < kPanels; ++p) y[n * kPanels + p] = sums[n][p];
}

// The tokens of a group from `first` on, in tiles of kTokens and a smaller one.
template <typename Format, int kTokens>
inline void run_times_group(const UnpackedRun<Format>& run, int64_t n_subs, const uint8_t* x, int64_t stride, int64_t first, Floats* y) {
  for (; stride - first >= kTokens; first += kTokens) run_times_tile<Format, kTokens>(run, n_subs, x, stride, first, y + first * kPanels);
  if constexpr (kTokens > 1)
    if (first < stride) run_times_group<Format, kTokens - 1>(run, n_subs, x, stride, first, y);
}

// Fetches what a pair of panels will be stored to: lines far apart, which nobody else asks for in
// time. Inlined by force: GCC 12 takes a function that only fetches for one without effect and drops its calls.
inline __attribute__((always_inline)) void prefetch_rows(const MatmulArgs& args, int64_t row, int64_t token, int64_t n_tokens) {
  for (int64_t n = token; n < token + n_tokens; ++n)
#pragma GCC unroll 2
    for (int p = 0; p < kPanels; ++p) {
      const int64_t at = n * args.y.row_stride_elems + row + p * kRows;
      __builtin_prefetch(args.y.data + at, 1);
      if (args.residual != nullptr && args.residual != args.y.data) __builtin_prefetch(args.residual + at);
    }
}

// Tokens first_token … of the activations at `x`, which begin a group; y as in run_times_tile, of
// the first of these tokens. row: where their sums are stored after this run, negative if it is not
// the last one.
template <typename Format>
inline void run_times_tokens(const UnpackedRun<Format>& run, int64_t first_sub, int64_t n_subs, const MatmulArgs& args, const uint8_t* x,
                             int64_t first_token, int64_t n_tokens, int64_t row, Floats* y) {
  const uint8_t* group_x = x + q8_group_offset(first_token / kQ8GroupTokens, args.w.n_cols);
  for (int64_t done = 0; done < n_tokens;) {
    const int64_t stride = q8_group_size((first_token + done) / kQ8GroupTokens, args.x.n_tokens);
    if (row >= 0) prefetch_rows(args, row, first_token + done, stride);
    run_times_group<Format, kTileTokens>(run, n_subs, group_x + first_sub * kQ8BytesPerTokenBlock * stride, stride, 0, y + done * kPanels);
    group_x += args.w.n_cols / kQ8BlockCols * kQ8BytesPerTokenBlock * stride;
    done += stride;
  }
}

// A last panel that is alone is multiplied twice and stored once.
template <typename Format, int kTerms>
inline void panels_times_block(const MatmulArgs& args, int64_t row, bool is_alone, int64_t first_token, int64_t n_tokens,
                               UnpackedRun<Format>& run) {
  constexpr PanelShape kShape = panel_shape(Format::kDType);
  const int64_t n_cols = args.w.n_cols, n_subs = n_cols / kQ8BlockCols;
  const int64_t chunk_bytes = chunk_size_bytes(kShape, kChunkCols, kRows), panel_bytes = panel_size_bytes(kShape, n_cols, kRows);
  const uint8_t* panel = static_cast<const uint8_t*>(args.w.data) + row / kRows * panel_bytes;
  const auto* x = static_cast<const uint8_t*>(args.x.data);
  Floats y[kTerms][kBlockTokens * kPanels];
  for (int term = 0; term < kTerms; ++term)
    for (int64_t i = 0; i < n_tokens * kPanels; ++i) y[term][i] = Lanes::zero();
  for (int64_t sub = 0, n; sub < n_subs; sub += n) {
    const bool is_last = n_subs - sub <= kLongestSubBlocks;
    n = is_last ? n_subs - sub : kRunSubBlocks;
    for (int p = 0; p < kPanels; ++p) {
      const uint8_t* of_rows = panel + (is_alone ? 0 : p * panel_bytes);
      const uint8_t* from = of_rows + sub * kQ8BlockCols / kChunkCols * chunk_bytes;
      const uint8_t* next = is_last ? of_rows + kPanels * panel_bytes : from + n * kQ8BlockCols / kChunkCols * chunk_bytes;
      unpack(from, next, n, p, run);
    }
    for (int term = 0; term < kTerms; ++term)
      run_times_tokens<Format>(run, sub, n, args, x + term * q8_matrix_bytes(args.x.n_tokens, n_cols), first_token, n_tokens,
                               is_last ? row : -1, y[term]);
  }
  for (int64_t n = 0; n < n_tokens; ++n)
    for (int p = 0; p < (is_alone ? 1 : kPanels); ++p) {
      Floats sum = with_bias_and_residual(args, row + p * kRows, first_token + n, y[0][n * kPanels + p]);
      if constexpr (kTerms == 2) sum = Lanes::sum(y[1][n * kPanels + p], sum);
      store(args, row + p * kRows, first_token + n, sum);
    }
}

// As many units of `unit_bytes` as are within `bytes`, at least one.
inline int64_t units_within(int64_t bytes, int64_t unit_bytes) { return bytes > unit_bytes ? bytes / unit_bytes : 1; }

template <typename Format, int kTerms>
inline void matmul_blocks(const MatmulArgs& args, RowRange range) {
  const int64_t n_tokens = args.x.n_tokens, n_cols = args.w.n_cols;
  const int64_t group_bytes = n_cols / kQ8BlockCols * kQ8BytesPerTokenBlock * kQ8GroupTokens;
  const int64_t fitting_tokens = units_within(kBlockActivationBytes, kTerms * group_bytes) * kQ8GroupTokens;
  const int64_t token_step = fitting_tokens < kBlockTokens ? fitting_tokens : kBlockTokens;
  const int64_t row_step =
      units_within(kBlockWeightBytes, kPanels * panel_size_bytes(panel_shape(Format::kDType), n_cols, kRows)) * kRows * kPanels;
  UnpackedRun<Format> run;
  for (int64_t from = range.from; from < range.to; from += row_step) {
    const int64_t to = range.to - from < row_step ? range.to : from + row_step;
    for (int64_t token = 0; token < n_tokens; token += token_step) {
      const int64_t n = n_tokens - token < token_step ? n_tokens - token : token_step;
      for (int64_t row = from; row < to; row += kRows * kPanels)
        panels_times_block<Format, kTerms>(args, row, row + kRows >= to, token, n, run);
    }
  }
}

// kTerms of every token: 1 of "q8", 2 of "q8_fine".
template <typename Format, int kTerms = 1>
inline void matmul_panels(const MatmulArgs& args, RowRange range) {
  if (args.x.n_tokens <= kFewTokens<kTerms>)
    matmul_few<Format, kTerms>(args, range);
  else
    matmul_blocks<Format, kTerms>(args, range);
}

}  // namespace
}  // namespace olx::kernels::cpu

// matmul_q4_k_avx2 and matmul_q4_k_avx2_fine from the format Q4_K.
#define OLX_MATMUL_PANELS(type, format, isa)                                                                 \
  void matmul_##type##_##isa(const MatmulArgs& args, RowRange range) { matmul_panels<format>(args, range); } \
  void matmul_##type##_##isa##_fine(const MatmulArgs& args, RowRange range) { matmul_panels<format, 2>(args, range); }
