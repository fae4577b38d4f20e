#pragma once
// The integer matmul of AVX-512 VNNI: one panel of 16 rows times a group of up to 8 tokens. Included by the matmul
// files of this folder and of amx/. Everything has internal linkage.
// Integer sums are exact; the scale of weight and token is applied per sub-block in f32.
// Cost of 16 rows x 32 columns x N tokens: 8 loads and unpackings, 8 N vpdpbusd (activation by embedded broadcast), 4 N
// f32 operations. Tuned on Zen 4, where vpdpbusd and its broadcast form both issue once a cycle.

#include <immintrin.h>

#include <cstdint>

#include "kernels/api/args.h"
#include "kernels/cpu/activation_q8.h"
#include "kernels/cpu/avx512/lanes.h"
#include "kernels/cpu/panel_formats.h"

namespace olx::kernels::cpu {
namespace {

template <int kTokens>
struct Sums {
  __m512 y[kTokens];
};

// Adds one sub-block. x: the token group's block (activation_q8.h).
template <typename Format, int kTokens>
inline __attribute__((always_inline)) void add_sub_block(const uint8_t* scales, const uint8_t* codes, const uint8_t* x, int sub,
                                                         Sums<kTokens>& sums) {
  constexpr int kHalves = Format::kIsPer16 ? 2 : 1;
  constexpr int kGroups = 8 / kHalves;
  const auto* d = reinterpret_cast<const float*>(x + 32 * kTokens);
#pragma GCC unroll 2
  for (int half = 0; half < kHalves; ++half) {
    __m512i dot[kTokens];
#pragma GCC unroll 8
    for (int n = 0; n < kTokens; ++n) dot[n] = _mm512_setzero_si512();
#pragma GCC unroll 8
    for (int g = half * kGroups; g < (half + 1) * kGroups; ++g) {
      const __m512i w = Format::codes(codes, sub, g);
#pragma GCC unroll 8
      for (int n = 0; n < kTokens; ++n)
        dot[n] = _mm512_dpbusd_epi32(dot[n], w, _mm512_set1_epi32(*reinterpret_cast<const int32_t*>(x + (g * kTokens + n) * 4)));
    }
    __m512 w, m;
    Format::scales(scales, sub, half, w, m);
    const float* sum = d + kTokens * (Format::kIsPer16 ? 1 + half : 3);
#pragma GCC unroll 8
    for (int n = 0; n < kTokens; ++n) {
      sums.y[n] = _mm512_fmadd_ps(_mm512_mul_ps(w, _mm512_set1_ps(d[n])), _mm512_cvtepi32_ps(dot[n]), sums.y[n]);
      sums.y[n] = _mm512_fnmadd_ps(m, _mm512_set1_ps(sum[n]), sums.y[n]);
    }
  }
}

// The first group of tokens waits for memory. The processor fetches ahead within a page of 4 KiB, this across its end
// (past a matrix it is a hint about nothing).
constexpr int64_t kPrefetchBytes = 2048;
constexpr int kAlwaysPrefetching = 4;  // tokens: without a branch, and a tail of so few is rare where it is not the first
template <int64_t kBytes>
inline void prefetch(const uint8_t* from) {
#pragma GCC unroll 64
  for (int64_t i = 0; i < kBytes; i += 64) _mm_prefetch(reinterpret_cast<const char*>(from + i), _MM_HINT_T0);
}

template <typename Format, int kTokens>
inline void multiply_panel(const uint8_t* panel, const uint8_t* x, int64_t n_blocks, int64_t scale_area, bool is_first_group,
                           Sums<kTokens>& sums) {
  constexpr PanelShape kShape = panel_shape(Format::kDType);
  const uint8_t* scales = panel;
  const uint8_t* codes = panel + scale_area;
#pragma GCC unroll 8
  for (int n = 0; n < kTokens; ++n) sums.y[n] = _mm512_setzero_ps();
  for (int64_t b = 0; b < n_blocks; ++b) {
    if (kTokens <= kAlwaysPrefetching || is_first_group)
      prefetch<kShape.scale_bytes * kRows>(scales + kShape.scale_bytes * kRows * (kPrefetchBytes / (kShape.code_bytes * kRows) + 1));
#pragma GCC unroll 8
    for (int sub = 0; sub < Format::kSubBlocks; ++sub) {
      constexpr int64_t kShare = kShape.code_bytes * kRows / Format::kSubBlocks;
      if (kTokens <= kAlwaysPrefetching || is_first_group) prefetch<kShare>(codes + kPrefetchBytes + sub * kShare);
      add_sub_block<Format, kTokens>(scales, codes, x, sub, sums);
      x += kQ8BytesPerTokenBlock * kTokens;
    }
    scales += kShape.scale_bytes * kRows;
    codes += kShape.code_bytes * kRows;
  }
}

// y, bias and residual of 16 rows (fewer at the end of the matrix) and the tokens of a group.
template <int kTokens>
inline void store_sums(const MatmulArgs& args, int64_t row, int64_t token, const Sums<kTokens>& sums) {
  const int64_t left = args.w.n_rows - row;
  const __mmask16 mask = left >= 16 ? 0xffff : static_cast<__mmask16>((1u << left) - 1);
  const __m512 bias = args.bias ? _mm512_maskz_loadu_ps(mask, args.bias + row) : _mm512_setzero_ps();
#pragma GCC unroll 8
  for (int n = 0; n < kTokens; ++n) {
    __m512 y = sums.y[n];
    if (args.bias) y = _mm512_add_ps(y, bias);
    const int64_t at = (token + n) * args.y.row_stride_elems + row;
    if (args.residual) y = _mm512_add_ps(y, _mm512_maskz_loadu_ps(mask, args.residual + at));
    _mm512_mask_storeu_ps(args.y.data + at, mask, y);
  }
}

template <typename Format, int kTokens>
inline void panel_times_group(const MatmulArgs& args, int64_t row, int64_t token, const uint8_t* panel, const uint8_t* x,
                              int64_t n_blocks, int64_t scale_area) {
  Sums<kTokens> sums;
  multiply_panel<Format, kTokens>(panel, x, n_blocks, scale_area, token == 0, sums);
  store_sums<kTokens>(args, row, token, sums);
}

// Weights outside, tokens inside: a panel stays in the first cache levels while every group passes by.
template <typename Format>
inline void matmul_panels(const MatmulArgs& args, RowRange range) {
  constexpr PanelShape kShape = panel_shape(Format::kDType);
  const int64_t n_cols = args.w.n_cols, n_tokens = args.x.n_tokens, n_blocks = n_cols / kShape.block_elems;
  const int64_t scale_area = panel_scale_area(kShape, n_cols, 16), panel_bytes = panel_size_bytes(kShape, n_cols, 16);
  for (int64_t row = range.from; row < range.to; row += 16) {
    const uint8_t* panel = static_cast<const uint8_t*>(args.w.data) + row / 16 * panel_bytes;
    for (int64_t group = 0; group * kQ8GroupTokens < n_tokens; ++group) {
      const uint8_t* x = static_cast<const uint8_t*>(args.x.data) + q8_group_offset(group, n_cols);
      const int64_t token = group * kQ8GroupTokens;
      switch (q8_group_size(group, n_tokens)) {
        case 1: panel_times_group<Format, 1>(args, row, token, panel, x, n_blocks, scale_area); break;
        case 2: panel_times_group<Format, 2>(args, row, token, panel, x, n_blocks, scale_area); break;
        case 3: panel_times_group<Format, 3>(args, row, token, panel, x, n_blocks, scale_area); break;
        case 4: panel_times_group<Format, 4>(args, row, token, panel, x, n_blocks, scale_area); break;
        case 5: panel_times_group<Format, 5>(args, row, token, panel, x, n_blocks, scale_area); break;
        case 6: panel_times_group<Format, 6>(args, row, token, panel, x, n_blocks, scale_area); break;
        case 7: panel_times_group<Format, 7>(args, row, token, panel, x, n_blocks, scale_area); break;
        default: panel_times_group<Format, 8>(args, row, token, panel, x, n_blocks, scale_area); break;
      }
    }
  }
}

}  // namespace
}  // namespace olx::kernels::cpu
