#pragma once
// The integer matmul of AVX2 for up to 4 tokens: one panel of 8 rows at a time. More tokens: panel_block.h. Included by the
// matmul files of this folder. Everything has internal linkage.
//
// vpmaddubsw adds two products of an unsigned code and an int8 activation in 16 bits, saturating, so sums of at most
// 32767 / (2 * 127 * kMaxCode) groups are kept in 16 bits before they are widened: 8 for 4-bit codes, 4 for 5 bits, 2 for 6.
// Formats with signed codes give |code| to one side and move the sign to the activation: 128 * 127 * 2 still fits, and
// every group is widened.

#include <immintrin.h>

#include <cstdint>

#include "kernels/api/args.h"
#include "kernels/cpu/activation_q8.h"
#include "kernels/cpu/avx2/lanes.h"
#include "kernels/cpu/panel_formats.h"

namespace olx::kernels::cpu {
namespace {

constexpr int64_t kTileTokens = 4;

// Products of a code and an int8 activation, two and two added by vpmaddubsw, that 16 bits hold: in groups of 4 columns.
constexpr int groups_in_16_bits(int max_code) {
  const int groups = 32767 / (2 * 127 * max_code);
  return groups >= 8 ? 8 : groups >= 4 ? 4 : groups >= 2 ? 2 : 1;
}

template <int kColumns>
struct Sums {
  __m256 y[kColumns];
};

// x: the block of columns of a group of kTokens tokens, and of the same tokens' second term; sums: term by term.
template <typename Format, int kTokens, int kTerms>
inline __attribute__((always_inline)) void add_sub_block(const uint8_t* scales, const uint8_t* codes, const uint8_t* const (&x)[kTerms],
                                                         int sub, Sums<kTokens * kTerms>& sums) {
  constexpr int kHalves = Format::kIsPer16 ? 2 : 1, kGroups = 8 / kHalves, kColumns = kTokens * kTerms;
  constexpr bool kIsSigned = Format::kIsSigned;
  constexpr int kStep = groups_in_16_bits(Format::kMaxCode) < kGroups ? groups_in_16_bits(Format::kMaxCode) : kGroups;
  const __m256i ones = _mm256_set1_epi16(1);
#pragma GCC unroll 2
  for (int half = 0; half < kHalves; ++half) {
    __m256i dot[kColumns];
#pragma GCC unroll 4
    for (int c = 0; c < kColumns; ++c) dot[c] = _mm256_setzero_si256();
#pragma GCC unroll 8
    for (int start = half * kGroups; start < (half + 1) * kGroups; start += kStep) {
      __m256i pairs[kColumns];
#pragma GCC unroll 8
      for (int g = start; g < start + kStep; ++g) {
        const __m256i w = Format::codes(codes, sub, g);
#pragma GCC unroll 4
        for (int c = 0; c < kColumns; ++c) {
          const uint8_t* of_token = x[c / kTokens] + (g * kTokens + c % kTokens) * 4;
          const __m256i a = _mm256_set1_epi32(*reinterpret_cast<const int32_t*>(of_token));
          const __m256i p = kIsSigned ? _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(a, w)) : _mm256_maddubs_epi16(w, a);
          pairs[c] = g == start ? p : _mm256_add_epi16(pairs[c], p);
        }
      }
#pragma GCC unroll 4
      for (int c = 0; c < kColumns; ++c) dot[c] = _mm256_add_epi32(dot[c], _mm256_madd_epi16(pairs[c], ones));
    }
    __m256 w, m;
    Format::scales(scales, sub, half, w, m);
#pragma GCC unroll 4
    for (int c = 0; c < kColumns; ++c) {
      const float* d = reinterpret_cast<const float*>(x[c / kTokens] + 32 * kTokens) + c % kTokens;
      sums.y[c] = _mm256_fmadd_ps(_mm256_mul_ps(w, _mm256_set1_ps(d[0])), _mm256_cvtepi32_ps(dot[c]), sums.y[c]);
      if constexpr (Format::kHasMinimum)
        sums.y[c] = _mm256_fnmadd_ps(m, _mm256_set1_ps(d[kTokens * (Format::kIsPer16 ? 1 + half : 3)]), sums.y[c]);
    }
  }
}

inline __m256i row_mask(int64_t n_rows) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(n_rows > kRows ? kRows : static_cast<int>(n_rows)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

inline __m256 with_bias_and_residual(const MatmulArgs& args, int64_t row, int64_t token, __m256 y) {
  const __m256i mask = row_mask(args.w.n_rows - row);
  if (args.bias) y = _mm256_add_ps(y, _mm256_maskload_ps(args.bias + row, mask));
  if (args.residual) y = _mm256_add_ps(y, _mm256_maskload_ps(args.residual + token * args.y.row_stride_elems + row, mask));
  return y;
}

inline void store_rows(const MatmulArgs& args, int64_t row, int64_t token, __m256 y) {
  _mm256_maskstore_ps(args.y.data + token * args.y.row_stride_elems + row, row_mask(args.w.n_rows - row), y);
}

template <typename Format, int kTokens, int kTerms>
inline void panel_times_tokens(const MatmulArgs& args, int64_t row, const uint8_t* panel) {
  constexpr PanelShape kShape = panel_shape(Format::kDType);
  const int64_t n_blocks = args.w.n_cols / kShape.block_elems;
  const uint8_t* scales = panel;
  const uint8_t* codes = panel + panel_scale_area(kShape, args.w.n_cols, kRows);
  const uint8_t* x[kTerms];
  for (int term = 0; term < kTerms; ++term) x[term] = static_cast<const uint8_t*>(args.x.data) + term * q8_matrix_bytes(kTokens, args.w.n_cols);
  Sums<kTokens * kTerms> sums;
  for (__m256& y : sums.y) y = _mm256_setzero_ps();
  for (int64_t b = 0; b < n_blocks; ++b) {
#pragma GCC unroll 8
    for (int sub = 0; sub < Format::kSubBlocks; ++sub) {
      add_sub_block<Format, kTokens, kTerms>(scales, codes, x, sub, sums);
      for (const uint8_t*& block : x) block += kQ8BytesPerTokenBlock * kTokens;
    }
    scales += kShape.scale_bytes * kRows;
    codes += kShape.code_bytes * kRows;
  }
  for (int n = 0; n < kTokens; ++n) {
    __m256 y = with_bias_and_residual(args, row, n, sums.y[n]);
    if constexpr (kTerms == 2) y = _mm256_add_ps(sums.y[kTokens + n], y);
    store_rows(args, row, n, y);
  }
}

// At most kTileTokens tokens, all terms counted.
template <typename Format, int kTerms>
inline void matmul_few(const MatmulArgs& args, RowRange range) {
  const int64_t panel_bytes = panel_size_bytes(panel_shape(Format::kDType), args.w.n_cols, kRows);
  for (int64_t row = range.from; row < range.to; row += kRows) {
    const uint8_t* panel = static_cast<const uint8_t*>(args.w.data) + row / kRows * panel_bytes;
    switch (args.x.n_tokens) {
      case 1: panel_times_tokens<Format, 1, kTerms>(args, row, panel); break;
      case 2: panel_times_tokens<Format, 2, kTerms>(args, row, panel); break;
      default:
        if constexpr (kTerms == 1) {
          if (args.x.n_tokens == 3) panel_times_tokens<Format, 3, kTerms>(args, row, panel);
          else panel_times_tokens<Format, 4, kTerms>(args, row, panel);
        }
    }
  }
}

}  // namespace
}  // namespace olx::kernels::cpu
