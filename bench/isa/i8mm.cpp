#include <arm_neon.h>

#include "bench/isa/loops.h"

namespace olx::bench::isa {

void int8_i8mm(int64_t n_steps) {
  int32x4_t sums[kChains] = {};
#pragma GCC unroll 12
  for (int32x4_t& sum : sums) asm volatile("" : "+w"(sum));  // equal chains would be computed once
  const int8x16_t a = vdupq_n_s8(1), b = vdupq_n_s8(2);
  for (int64_t step = 0; step < n_steps; ++step)
#pragma GCC unroll 12
    for (int32x4_t& sum : sums) sum = vmmlaq_s32(sum, a, b);
#pragma GCC unroll 12
  for (int32x4_t& sum : sums) asm volatile("" ::"w"(sum));
}

}  // namespace olx::bench::isa
