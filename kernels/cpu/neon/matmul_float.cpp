// F32, F16 and BF16 weights times f32 activations: panels of [n_cols][4] elements, one fused multiply-add a token.
#include <arm_neon.h>

#include <cstdint>

#include "kernels/api/args.h"
#include "kernels/cpu/panel.h"

namespace olx::kernels::cpu {
namespace {

struct F32 {
  static constexpr DType kDType = DType::kF32;
  static float32x4_t load(const uint8_t* w) { return vld1q_f32(reinterpret_cast<const float*>(w)); }
};
struct F16 {
  static constexpr DType kDType = DType::kF16;
  static float32x4_t load(const uint8_t* w) { return vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(w))); }
};
struct BF16 {
  static constexpr DType kDType = DType::kBF16;
  static float32x4_t load(const uint8_t* w) {
    return vreinterpretq_f32_u32(vshll_n_u16(vreinterpret_u16_u8(vld1_u8(w)), 16));
  }
};

template <typename Format, int kTokens>
inline void panel_times_tokens(const MatmulArgs& args, int64_t row, int64_t token, const uint8_t* panel) {
  constexpr int64_t kStep = 4 * panel_shape(Format::kDType).unit_bytes;
  const float* x[kTokens];
  float32x4_t y[kTokens];
#pragma GCC unroll 8
  for (int n = 0; n < kTokens; ++n) {
    x[n] = static_cast<const float*>(args.x.data) + (token + n) * args.x.row_stride_elems;
    y[n] = vdupq_n_f32(0);
  }
  for (int64_t k = 0; k < args.w.n_cols; ++k, panel += kStep) {
    const float32x4_t w = Format::load(panel);
#pragma GCC unroll 8
    for (int n = 0; n < kTokens; ++n) y[n] = vfmaq_n_f32(y[n], w, x[n][k]);
  }
  for (int n = 0; n < kTokens; ++n) {
    float lanes[4];
    vst1q_f32(lanes, y[n]);
    const int64_t at = (token + n) * args.y.row_stride_elems + row;
    for (int64_t i = 0; i < 4 && row + i < args.w.n_rows; ++i) {
      float value = lanes[i];
      if (args.bias) value += args.bias[row + i];
      if (args.residual) value += args.residual[at + i];
      args.y.data[at + i] = value;
    }
  }
}

template <typename Format>
inline void matmul_float(const MatmulArgs& args, RowRange range) {
  const int64_t panel_bytes = panel_size_bytes(panel_shape(Format::kDType), args.w.n_cols, 4), n_tokens = args.x.n_tokens;
  for (int64_t row = range.from; row < range.to; row += 4) {
    const uint8_t* panel = static_cast<const uint8_t*>(args.w.data) + row / 4 * panel_bytes;
    int64_t token = 0;
    for (; token + 8 <= n_tokens; token += 8) panel_times_tokens<Format, 8>(args, row, token, panel);
    for (; token + 4 <= n_tokens; token += 4) panel_times_tokens<Format, 4>(args, row, token, panel);
    for (; token < n_tokens; ++token) panel_times_tokens<Format, 1>(args, row, token, panel);
  }
}

}  // namespace

void matmul_f32_neon(const MatmulArgs& args, RowRange range) { matmul_float<F32>(args, range); }
void matmul_f16_neon(const MatmulArgs& args, RowRange range) { matmul_float<F16>(args, range); }
void matmul_bf16_neon(const MatmulArgs& args, RowRange range) { matmul_float<BF16>(args, range); }

}  // namespace olx::kernels::cpu
