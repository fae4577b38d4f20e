#include "bench/isa/neon_chains.h"

namespace olx::bench::isa {

void int8_i8mm(int64_t n_steps) {
  const int8x16_t a = vdupq_n_s8(1), b = vdupq_n_s8(2);
  run_chains<int32x4_t>(n_steps, [=](int32x4_t sum) { return vmmlaq_s32(sum, a, b); });
}

}  // namespace olx::bench::isa
