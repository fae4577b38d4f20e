#pragma once
// The integer matmul of AVX2: one panel of 8 rows times up to 4 tokens of a group. Included by the matmul files of this
// folder. Everything has internal linkage.
//
// A Format is as in avx512/panel_dot.h, with kMaxCode: vpmaddubsw adds two products of an unsigned code and an int8
// activation in 16 bits, saturating, so sums of at most 32767 / (2 * 127 * kMaxCode) groups are kept in 16 bits before
// they are widened: 8 for 4-bit codes, 4 for 5 bits, 2 for 6. Formats with signed codes (kMaxCode 128) give |code| to
// one side and move the sign to the activation: 128 * 127 * 2 still fits, and every group is widened.

#include <immintrin.h>

#include <cstdint>

#include "kernels/api/args.h"
#include "kernels/cpu/activation_q8.h"
#include "kernels/cpu/panel.h"

namespace olx::kernels::cpu {
namespace {

constexpr int kRows = 8;
constexpr int64_t kTileTokens = 4;

inline __m256 half_scales(const uint8_t* s) { return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(s))); }
inline __m256 u8_scales(const uint8_t* s) {
  return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(s))));
}
inline __m256 i8_scales(const uint8_t* s) {
  return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(s))));
}
inline __m256i load_unit(const uint8_t* q, int unit) { return _mm256_load_si256(reinterpret_cast<const __m256i*>(q + 32 * unit)); }
inline __m256i low_nibbles(__m256i x) { return _mm256_and_si256(x, _mm256_set1_epi8(15)); }
inline __m256i high_nibbles(__m256i x) { return _mm256_and_si256(_mm256_srli_epi16(x, 4), _mm256_set1_epi8(15)); }
inline __m256i split_nibbles(const uint8_t* q, int g) {
  return g < 4 ? low_nibbles(load_unit(q, g)) : high_nibbles(load_unit(q, g - 4));
}
inline __m256i or_masked(__m256i a, __m256i b, char mask) { return _mm256_or_si256(a, _mm256_and_si256(b, _mm256_set1_epi8(mask))); }
inline __m256i move_bits(__m256i x, int from, int to) { return from >= to ? _mm256_srli_epi16(x, from - to) : _mm256_slli_epi16(x, to - from); }

template <int kTokens>
struct Sums {
  __m256 y[kTokens];
};

// x: the group's block; stride: tokens of the group; the tile's tokens begin at `first`.
template <typename Format, int kTokens>
inline __attribute__((always_inline)) void add_sub_block(const uint8_t* scales, const uint8_t* codes, const uint8_t* x, int sub,
                                                         int64_t stride, int64_t first, Sums<kTokens>& sums) {
  constexpr int kHalves = Format::kIsPer16 ? 2 : 1;
  constexpr int kGroups = 8 / kHalves;
  constexpr bool kIsSigned = Format::kMaxCode > 127;
  constexpr int kPerFlush = kIsSigned ? 1 : 32767 / (2 * 127 * Format::kMaxCode) >= 8 ? 8 : 32767 / (2 * 127 * Format::kMaxCode) >= 4 ? 4 : 2;
  constexpr int kStep = kPerFlush < kGroups ? kPerFlush : kGroups;
  const __m256i ones = _mm256_set1_epi16(1);
  const auto* d = reinterpret_cast<const float*>(x + 32 * stride);
#pragma GCC unroll 2
  for (int half = 0; half < kHalves; ++half) {
    __m256i dot[kTokens];
#pragma GCC unroll 4
    for (int n = 0; n < kTokens; ++n) dot[n] = _mm256_setzero_si256();
#pragma GCC unroll 8
    for (int start = half * kGroups; start < (half + 1) * kGroups; start += kStep) {
      __m256i pairs[kTokens];
#pragma GCC unroll 8
      for (int g = start; g < start + kStep; ++g) {
        const __m256i w = Format::codes(codes, sub, g);
#pragma GCC unroll 4
        for (int n = 0; n < kTokens; ++n) {
          const __m256i a = _mm256_set1_epi32(*reinterpret_cast<const int32_t*>(x + (g * stride + first + n) * 4));
          const __m256i p = kIsSigned ? _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(a, w)) : _mm256_maddubs_epi16(w, a);
          pairs[n] = g == start ? p : _mm256_add_epi16(pairs[n], p);
        }
      }
#pragma GCC unroll 4
      for (int n = 0; n < kTokens; ++n) dot[n] = _mm256_add_epi32(dot[n], _mm256_madd_epi16(pairs[n], ones));
    }
    __m256 w, m;
    Format::scales(scales, sub, half, w, m);
    const float* sum = d + stride * (Format::kIsPer16 ? 1 + half : 3);
#pragma GCC unroll 4
    for (int n = 0; n < kTokens; ++n) {
      sums.y[n] = _mm256_fmadd_ps(_mm256_mul_ps(w, _mm256_set1_ps(d[first + n])), _mm256_cvtepi32_ps(dot[n]), sums.y[n]);
      if constexpr (Format::kHasMinimum) sums.y[n] = _mm256_fnmadd_ps(m, _mm256_set1_ps(sum[first + n]), sums.y[n]);
    }
  }
}

inline __m256i row_mask(int64_t n_rows) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(n_rows > kRows ? kRows : static_cast<int>(n_rows)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

template <typename Format, int kTokens>
inline void panel_times_tile(const MatmulArgs& args, int64_t row, int64_t token, const uint8_t* panel, const uint8_t* x, int64_t stride,
                             int64_t first, int64_t n_blocks, int64_t scale_area) {
  constexpr PanelShape kShape = panel_shape(Format::kDType);
  const uint8_t* scales = panel;
  const uint8_t* codes = panel + scale_area;
  Sums<kTokens> sums;
#pragma GCC unroll 4
  for (int n = 0; n < kTokens; ++n) sums.y[n] = _mm256_setzero_ps();
  for (int64_t b = 0; b < n_blocks; ++b) {
#pragma GCC unroll 8
    for (int sub = 0; sub < Format::kSubBlocks; ++sub) {
      add_sub_block<Format, kTokens>(scales, codes, x, sub, stride, first, sums);
      x += kQ8BytesPerTokenBlock * stride;
    }
    scales += kShape.scale_bytes * kRows;
    codes += kShape.code_bytes * kRows;
  }
  const __m256i mask = row_mask(args.w.n_rows - row);
#pragma GCC unroll 4
  for (int n = 0; n < kTokens; ++n) {
    __m256 y = sums.y[n];
    if (args.bias) y = _mm256_add_ps(y, _mm256_maskload_ps(args.bias + row, mask));
    const int64_t at = (token + n) * args.y.row_stride_elems + row;
    if (args.residual) y = _mm256_add_ps(y, _mm256_maskload_ps(args.residual + at, mask));
    _mm256_maskstore_ps(args.y.data + at, mask, y);
  }
}

template <typename Format>
inline void matmul_panels(const MatmulArgs& args, RowRange range) {
  constexpr PanelShape kShape = panel_shape(Format::kDType);
  const int64_t n_cols = args.w.n_cols, n_tokens = args.x.n_tokens, n_blocks = n_cols / kShape.block_elems;
  const int64_t scale_area = panel_scale_area(kShape, n_cols, kRows), panel_bytes = panel_size_bytes(kShape, n_cols, kRows);
  for (int64_t row = range.from; row < range.to; row += kRows) {
    const uint8_t* panel = static_cast<const uint8_t*>(args.w.data) + row / kRows * panel_bytes;
    for (int64_t group = 0; group * kQ8GroupTokens < n_tokens; ++group) {
      const uint8_t* x = static_cast<const uint8_t*>(args.x.data) + q8_group_offset(group, n_cols);
      const int64_t stride = q8_group_size(group, n_tokens);
      for (int64_t first = 0; first < stride; first += kTileTokens) {
        const int64_t token = group * kQ8GroupTokens + first;
        switch (stride - first) {
          case 1: panel_times_tile<Format, 1>(args, row, token, panel, x, stride, first, n_blocks, scale_area); break;
          case 2: panel_times_tile<Format, 2>(args, row, token, panel, x, stride, first, n_blocks, scale_area); break;
          case 3: panel_times_tile<Format, 3>(args, row, token, panel, x, stride, first, n_blocks, scale_area); break;
          default: panel_times_tile<Format, 4>(args, row, token, panel, x, stride, first, n_blocks, scale_area); break;
        }
      }
    }
  }
}

}  // namespace
}  // namespace olx::kernels::cpu
