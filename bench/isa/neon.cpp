#include "bench/isa/neon_chains.h"

namespace olx::bench::isa {

void f32_neon(int64_t n_steps) {
  const float32x4_t a = vdupq_n_f32(1), b = vdupq_n_f32(2);
  run_chains<float32x4_t>(n_steps, [=](float32x4_t sum) { return vfmaq_f32(sum, a, b); });
}

void int8_neondot(int64_t n_steps) {
  const int8x16_t a = vdupq_n_s8(1), b = vdupq_n_s8(2);
  run_chains<int32x4_t>(n_steps, [=](int32x4_t sum) { return vdotq_s32(sum, a, b); });
}

}  // namespace olx::bench::isa
