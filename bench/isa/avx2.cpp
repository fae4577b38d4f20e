#include <immintrin.h>

#include "bench/isa/loops.h"

namespace olx::bench::isa {

uint64_t read_avx2(const void* memory, int64_t size_bytes) {
  const auto* words = static_cast<const __m256i*>(memory);
  __m256i sums[8] = {};
  for (int64_t i = 0; i < size_bytes / 32; i += 8)
#pragma GCC unroll 8
    for (int j = 0; j < 8; ++j) sums[j] = _mm256_add_epi64(sums[j], _mm256_load_si256(words + i + j));
  for (int j = 1; j < 8; ++j) sums[0] = _mm256_add_epi64(sums[0], sums[j]);
  return static_cast<uint64_t>(_mm256_extract_epi64(sums[0], 0) + _mm256_extract_epi64(sums[0], 1) +
                               _mm256_extract_epi64(sums[0], 2) + _mm256_extract_epi64(sums[0], 3));
}

void f32_avx2(int64_t n_steps) {
  __m256 sums[kChains] = {};
#pragma GCC unroll 12
  for (__m256& sum : sums) asm volatile("" : "+x"(sum));  // equal chains would be computed once
  const __m256 a = _mm256_set1_ps(1), b = _mm256_set1_ps(2);
  for (int64_t step = 0; step < n_steps; ++step)
#pragma GCC unroll 12
    for (__m256& sum : sums) sum = _mm256_fmadd_ps(a, b, sum);
#pragma GCC unroll 12
  for (__m256& sum : sums) asm volatile("" ::"x"(sum));
}

void int8_avx2(int64_t n_steps) {
  __m256i sums[kChains] = {};
  __m256i a = _mm256_set1_epi8(1);
  const __m256i b = _mm256_set1_epi8(2), ones = _mm256_set1_epi16(1);
  for (int64_t step = 0; step < n_steps; ++step)
#pragma GCC unroll 12
    for (__m256i& sum : sums) {
      asm("" : "+x"(a));  // a product the compiler could take out of the loop would not be measured
      sum = _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_maddubs_epi16(a, b), ones));
    }
#pragma GCC unroll 12
  for (__m256i& sum : sums) asm volatile("" ::"x"(sum));
}

}  // namespace olx::bench::isa
