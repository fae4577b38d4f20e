#pragma once
// The loop of NEON's instructions: kChains sums side by side. A file of each instruction set includes it; internal linkage.

#include <arm_neon.h>

#include "bench/isa/loops.h"

namespace olx::bench::isa {
namespace {

// step(sum): the sum after one more multiply-add.
template <typename Vector, typename Step>
inline __attribute__((always_inline)) void run_chains(int64_t n_steps, Step step) {
  Vector sums[kChains] = {};
#pragma GCC unroll 12
  for (Vector& sum : sums) asm volatile("" : "+w"(sum));  // equal chains would be computed once
  for (int64_t i = 0; i < n_steps; ++i)
#pragma GCC unroll 12
    for (Vector& sum : sums) sum = step(sum);
#pragma GCC unroll 12
  for (Vector& sum : sums) asm volatile("" ::"w"(sum));
}

}  // namespace
}  // namespace olx::bench::isa
