// f32 -> "q8" (activation_q8.h): eight vectors are a block.
#include <arm_neon.h>

#include <cstdint>

#include "kernels/api/args.h"
#include "kernels/cpu/activation_q8.h"

namespace olx::kernels::cpu {

void quantize_q8_neon(const QuantizeArgs& args, RowRange range) {
  const int64_t n_cols = args.x.n_cols, n_tokens = args.x.n_rows;
  for (int64_t token = range.from; token < range.to; ++token) {
    const float* x = args.x.row(token);
    const int64_t group = token / kQ8GroupTokens, n = q8_group_size(group, n_tokens), column = token % kQ8GroupTokens;
    auto* block = static_cast<int8_t*>(const_cast<void*>(args.y.data)) + q8_group_offset(group, n_cols);
    for (int64_t b = 0; b < n_cols; b += kQ8BlockCols, block += n * kQ8BytesPerTokenBlock) {
      float32x4_t v[8];
      float32x4_t peak = vdupq_n_f32(0);
      for (int i = 0; i < 8; ++i) {
        v[i] = vld1q_f32(x + b + 4 * i);
        peak = vmaxq_f32(vabsq_f32(v[i]), peak);
      }
      const float largest = vmaxvq_f32(peak);
      const float d = largest / 127.0f;
      // A block of subnormals would give an infinite inverse; it is treated as zero.
      const float inverse = largest > 1e-35f ? 127.0f / largest : 0.0f;
      int32_t sums[2] = {0, 0};
      for (int64_t i = 0; i < 8; ++i) {
        const int32x4_t q = vcvtnq_s32_f32(vmulq_n_f32(v[i], inverse));
        sums[i / 4] += vaddvq_s32(q);
        const int16x4_t narrow = vqmovn_s32(q);
        const int8x8_t codes = vqmovn_s16(vcombine_s16(narrow, narrow));
        vst1_lane_s32(reinterpret_cast<int32_t*>(block + (i * n + column) * 4), vreinterpret_s32_s8(codes), 0);
      }
      store_q8_scales(block, n, column, d, sums[0], sums[1]);
    }
  }
}

}  // namespace olx::kernels::cpu
