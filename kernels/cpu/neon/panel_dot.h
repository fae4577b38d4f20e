#pragma once
// The integer matmul of NEON with dot product: one panel of 4 rows times up to 4 tokens of a group. Included by the
// matmul files of this folder. Everything has internal linkage.

#include <arm_neon.h>

#include <cstdint>

#include "kernels/api/args.h"
#include "kernels/cpu/activation_q8.h"
#include "kernels/cpu/neon/lanes.h"
#include "kernels/cpu/panel_formats.h"

namespace olx::kernels::cpu {
namespace {

constexpr int64_t kTileTokens = 4;

template <int kTokens>
struct Sums {
  float32x4_t y[kTokens];
};

// x: the group's block; stride: tokens of the group; the tile's tokens begin at `first`.
template <typename Format, int kTokens>
inline __attribute__((always_inline)) void add_sub_block(const uint8_t* scales, const uint8_t* codes, const uint8_t* x, int sub,
                                                         int64_t stride, int64_t first, Sums<kTokens>& sums) {
  constexpr int kHalves = Format::kIsPer16 ? 2 : 1;
  constexpr int kGroups = 8 / kHalves;
  const auto* d = reinterpret_cast<const float*>(x + 32 * stride);
#pragma GCC unroll 2
  for (int half = 0; half < kHalves; ++half) {
    int32x4_t dot[kTokens];
#pragma GCC unroll 4
    for (int n = 0; n < kTokens; ++n) dot[n] = vdupq_n_s32(0);
#pragma GCC unroll 8
    for (int g = half * kGroups; g < (half + 1) * kGroups; ++g) {
      const int8x16_t w = Format::codes(codes, sub, g);
      const auto* a = reinterpret_cast<const int32_t*>(x + (g * stride + first) * 4);
#pragma GCC unroll 4
      for (int n = 0; n < kTokens; ++n) dot[n] = vdotq_s32(dot[n], w, vreinterpretq_s8_s32(vld1q_dup_s32(a + n)));
    }
    float32x4_t w, m;
    Format::scales(scales, sub, half, w, m);
    const float* sum = d + stride * (Format::kIsPer16 ? 1 + half : 3);
#pragma GCC unroll 4
    for (int n = 0; n < kTokens; ++n) {
      sums.y[n] = vfmaq_f32(sums.y[n], vmulq_n_f32(w, d[first + n]), vcvtq_f32_s32(dot[n]));
      if constexpr (Format::kHasMinimum) sums.y[n] = vfmsq_f32(sums.y[n], m, vdupq_n_f32(sum[first + n]));
    }
  }
}

// n_rows values of y (fewer than kRows at the end of the matrix), with bias and residual.
inline void store_rows(const MatmulArgs& args, int64_t row, int64_t token, float32x4_t y) {
  float lanes[kRows];
  vst1q_f32(lanes, y);
  const int64_t at = token * args.y.row_stride_elems + row;
  for (int64_t i = 0; i < kRows && row + i < args.w.n_rows; ++i) {
    float value = lanes[i];
    if (args.bias) value += args.bias[row + i];
    if (args.residual) value += args.residual[at + i];
    args.y.data[at + i] = value;
  }
}

template <typename Format, int kTokens>
inline void panel_times_tile(const MatmulArgs& args, int64_t row, int64_t token, const uint8_t* panel, const uint8_t* x, int64_t stride,
                             int64_t first, int64_t n_blocks, int64_t scale_area) {
  constexpr PanelShape kShape = panel_shape(Format::kDType);
  const uint8_t* scales = panel;
  const uint8_t* codes = panel + scale_area;
  Sums<kTokens> sums;
#pragma GCC unroll 4
  for (int n = 0; n < kTokens; ++n) sums.y[n] = vdupq_n_f32(0);
  for (int64_t b = 0; b < n_blocks; ++b) {
#pragma GCC unroll 8
    for (int sub = 0; sub < Format::kSubBlocks; ++sub) {
      add_sub_block<Format, kTokens>(scales, codes, x, sub, stride, first, sums);
      x += kQ8BytesPerTokenBlock * stride;
    }
    scales += kShape.scale_bytes * kRows;
    codes += kShape.code_bytes * kRows;
  }
#pragma GCC unroll 4
  for (int n = 0; n < kTokens; ++n) store_rows(args, row, token + n, sums.y[n]);
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
