#include <immintrin.h>

#include "bench/isa/loops.h"

namespace olx::bench::isa {

void int8_avxvnni(int64_t n_steps) {
  __m256i sums[kChains] = {};
#pragma GCC unroll 12
  for (__m256i& sum : sums) asm volatile("" : "+x"(sum));  // equal chains would be computed once
  const __m256i a = _mm256_set1_epi8(1), b = _mm256_set1_epi8(2);
  for (int64_t step = 0; step < n_steps; ++step)
#pragma GCC unroll 12
    for (__m256i& sum : sums) sum = _mm256_dpbusd_avx_epi32(sum, a, b);
#pragma GCC unroll 12
  for (__m256i& sum : sums) asm volatile("" ::"x"(sum));
}

}  // namespace olx::bench::isa
