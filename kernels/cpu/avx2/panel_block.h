#pragma once
// The integer matmul of AVX2 for many tokens: the codes and scales of two panels are unpacked once, a run of columns at a
// time, and multiplied with a block of tokens that stays in the second cache level. What is left of the loop over tokens
// is products and their sums. Same sums in the same order as panel_dot.h: the bits of a token do not depend on the path.
// With two terms an activation ("q8_fine" of activation_q8.h) both are multiplied with what was unpacked once, and the second
// sum is added to the first. Included by the matmul files of this folder; internal linkage.

#include "kernels/cpu/avx2/panel_dot.h"

namespace olx::kernels::cpu {
namespace {

constexpr int kPanels = 2;
constexpr int kRunSubBlocks = 16;                      // 512 columns: 8 KiB of codes for two panels
constexpr int64_t kBlockTokens = 64;
constexpr int64_t kBlockActivationBytes = 256 << 10;  // half of a small second level

// Scales once for 32 columns, or once for each half of them.
template <typename Format>
struct UnpackedRun {
  static constexpr int kHalves = Format::kIsPer16 ? 2 : 1;
  __m256i codes[kRunSubBlocks][8][kPanels];
  __m256 w[kRunSubBlocks][kHalves][kPanels];
  __m256 m[kRunSubBlocks][kHalves][kPanels];
};

// Sub-blocks first_sub … first_sub + n_subs - 1 of one panel, both multiples of a block's.
template <typename Format>
inline void unpack(const uint8_t* panel, int64_t scale_area, int64_t first_sub, int64_t n_subs, int p, UnpackedRun<Format>& run) {
  constexpr PanelShape kShape = panel_shape(Format::kDType);
  const int64_t first_block = first_sub / Format::kSubBlocks;
  const uint8_t* scales = panel + first_block * kShape.scale_bytes * kRows;
  const uint8_t* codes = panel + scale_area + first_block * kShape.code_bytes * kRows;
  for (int64_t at = 0; at < n_subs; at += Format::kSubBlocks) {
#pragma GCC unroll 8
    for (int sub = 0; sub < Format::kSubBlocks; ++sub) {
#pragma GCC unroll 8
      for (int g = 0; g < 8; ++g) run.codes[at + sub][g][p] = Format::codes(codes, sub, g);
#pragma GCC unroll 2
      for (int half = 0; half < UnpackedRun<Format>::kHalves; ++half)
        Format::scales(scales, sub, half, run.w[at + sub][half][p], run.m[at + sub][half][p]);
    }
    scales += kShape.scale_bytes * kRows;
    codes += kShape.code_bytes * kRows;
  }
}

// y[token][panel], a token's vectors together. x: the block of the run's first sub-block in the tile's group.
template <typename Format, int kTokens>
inline void run_times_tile(const UnpackedRun<Format>& run, int64_t n_subs, const uint8_t* x, int64_t stride, int64_t first, __m256* y) {
  constexpr int kHalves = UnpackedRun<Format>::kHalves, kGroups = 8 / kHalves;
  constexpr bool kIsSigned = Format::kIsSigned;
  constexpr int kStep = groups_in_16_bits(Format::kMaxCode) < kGroups ? groups_in_16_bits(Format::kMaxCode) : kGroups;
  const __m256i ones = _mm256_set1_epi16(1);
  __m256 sums[kTokens][kPanels];
#pragma GCC unroll 4
  for (int n = 0; n < kTokens; ++n)
#pragma GCC unroll 2
    for (int p = 0; p < kPanels; ++p) sums[n][p] = y[n * kPanels + p];
  for (int64_t sub = 0; sub < n_subs; ++sub, x += kQ8BytesPerTokenBlock * stride) {
    const auto* d = reinterpret_cast<const float*>(x + 32 * stride);
#pragma GCC unroll 2
    for (int half = 0; half < kHalves; ++half) {
      __m256i dot[kTokens][kPanels];
#pragma GCC unroll 8
      for (int start = half * kGroups; start < (half + 1) * kGroups; start += kStep) {
        __m256i pairs[kTokens][kPanels];
#pragma GCC unroll 8
        for (int g = start; g < start + kStep; ++g) {
#pragma GCC unroll 4
          for (int n = 0; n < kTokens; ++n) {
            const __m256i a = _mm256_set1_epi32(*reinterpret_cast<const int32_t*>(x + (g * stride + first + n) * 4));
#pragma GCC unroll 2
            for (int p = 0; p < kPanels; ++p) {
              const __m256i w = run.codes[sub][g][p];
              const __m256i product =
                  kIsSigned ? _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(a, w)) : _mm256_maddubs_epi16(w, a);
              pairs[n][p] = g == start ? product : _mm256_add_epi16(pairs[n][p], product);
            }
          }
        }
#pragma GCC unroll 4
        for (int n = 0; n < kTokens; ++n)
#pragma GCC unroll 2
          for (int p = 0; p < kPanels; ++p) {
            const __m256i wide = _mm256_madd_epi16(pairs[n][p], ones);
            dot[n][p] = start == half * kGroups ? wide : _mm256_add_epi32(dot[n][p], wide);
          }
      }
      const float* sum = d + stride * (Format::kIsPer16 ? 1 + half : 3);
#pragma GCC unroll 4
      for (int n = 0; n < kTokens; ++n)
#pragma GCC unroll 2
        for (int p = 0; p < kPanels; ++p) {
          sums[n][p] = _mm256_fmadd_ps(_mm256_mul_ps(run.w[sub][half][p], _mm256_set1_ps(d[first + n])), _mm256_cvtepi32_ps(dot[n][p]), sums[n][p]);
          if constexpr (Format::kHasMinimum) sums[n][p] = _mm256_fnmadd_ps(run.m[sub][half][p], _mm256_set1_ps(sum[first + n]), sums[n][p]);
        }
    }
  }
#pragma GCC unroll 4
  for (int n = 0; n < kTokens; ++n)
#pragma GCC unroll 2
    for (int p = 0; p < kPanels; ++p) y[n * kPanels + p] = sums[n][p];
}

// Tokens first_token … of the activations at `x`, which begin a group; y as in run_times_tile, of the first of these tokens.
template <typename Format>
inline void run_times_tokens(const UnpackedRun<Format>& run, int64_t first_sub, int64_t n_subs, const MatmulArgs& args, const uint8_t* x,
                             int64_t first_token, int64_t n_tokens, __m256* y) {
  const uint8_t* group_x = x + q8_group_offset(first_token / kQ8GroupTokens, args.w.n_cols);
  for (int64_t done = 0; done < n_tokens;) {
    const int64_t stride = q8_group_size((first_token + done) / kQ8GroupTokens, args.x.n_tokens);
    const uint8_t* run_x = group_x + first_sub * kQ8BytesPerTokenBlock * stride;
    for (int64_t first = 0; first < stride;) {
      __m256* at = y + (done + first) * kPanels;
      if (stride - first >= 4) {
        run_times_tile<Format, 4>(run, n_subs, run_x, stride, first, at);
        first += 4;
      } else if (stride - first >= 2) {
        run_times_tile<Format, 2>(run, n_subs, run_x, stride, first, at);
        first += 2;
      } else {
        run_times_tile<Format, 1>(run, n_subs, run_x, stride, first, at);
        first += 1;
      }
    }
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
  const int64_t scale_area = panel_scale_area(kShape, n_cols, kRows), panel_bytes = panel_size_bytes(kShape, n_cols, kRows);
  const uint8_t* panel = static_cast<const uint8_t*>(args.w.data) + row / kRows * panel_bytes;
  const auto* x = static_cast<const uint8_t*>(args.x.data);
  __m256 y[kTerms][kBlockTokens * kPanels];
  for (int term = 0; term < kTerms; ++term)
    for (int64_t i = 0; i < n_tokens * kPanels; ++i) y[term][i] = _mm256_setzero_ps();
  for (int64_t sub = 0; sub < n_subs; sub += kRunSubBlocks) {
    const int64_t n = n_subs - sub < kRunSubBlocks ? n_subs - sub : kRunSubBlocks;
    for (int p = 0; p < kPanels; ++p) unpack(panel + (is_alone ? 0 : p * panel_bytes), scale_area, sub, n, p, run);
    for (int term = 0; term < kTerms; ++term)
      run_times_tokens<Format>(run, sub, n, args, x + term * q8_matrix_bytes(args.x.n_tokens, n_cols), first_token, n_tokens, y[term]);
  }
  for (int p = 0; p < (is_alone ? 1 : kPanels); ++p)
    for (int64_t n = 0; n < n_tokens; ++n) {
      __m256 sum = with_bias_and_residual(args, row + p * kRows, first_token + n, y[0][n * kPanels + p]);
      if constexpr (kTerms == 2) sum = _mm256_add_ps(y[1][n * kPanels + p], sum);
      store_rows(args, row + p * kRows, first_token + n, sum);
    }
}

// As many tokens at a time as leave their activations in the second cache level.
inline int64_t tokens_in_block(int64_t n_cols) {
  const int64_t groups = kBlockActivationBytes / (n_cols / kQ8BlockCols * kQ8BytesPerTokenBlock * kQ8GroupTokens);
  const int64_t tokens = (groups > 1 ? groups : 1) * kQ8GroupTokens;
  return tokens < kBlockTokens ? tokens : kBlockTokens;
}

template <typename Format, int kTerms>
inline void matmul_blocks(const MatmulArgs& args, RowRange range) {
  const int64_t step = tokens_in_block(args.w.n_cols);
  UnpackedRun<Format> run;
  for (int64_t token = 0; token < args.x.n_tokens; token += step) {
    const int64_t n = args.x.n_tokens - token < step ? args.x.n_tokens - token : step;
    for (int64_t row = range.from; row < range.to; row += kRows * kPanels)
      panels_times_block<Format, kTerms>(args, row, row + kRows >= range.to, token, n, run);
  }
}

// kTerms of every token: 1 of "q8", 2 of "q8_fine".
template <typename Format, int kTerms = 1>
inline void matmul_panels(const MatmulArgs& args, RowRange range) {
  if (args.x.n_tokens * kTerms <= kTileTokens) matmul_few<Format, kTerms>(args, range);
  else matmul_blocks<Format, kTerms>(args, range);
}

}  // namespace
}  // namespace olx::kernels::cpu
