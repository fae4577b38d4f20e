#include <immintrin.h>

#include "bench/isa/loops.h"

namespace olx::bench::isa {

uint64_t read_avx512(const void* memory, int64_t size_bytes) {
  const auto* words = static_cast<const char*>(memory);
  __m512i sums[8] = {};
  for (int64_t i = 0; i < size_bytes; i += 512)
#pragma GCC unroll 8
    for (int j = 0; j < 8; ++j) sums[j] = _mm512_add_epi64(sums[j], _mm512_load_si512(words + i + 64 * j));
  for (int j = 1; j < 8; ++j) sums[0] = _mm512_add_epi64(sums[0], sums[j]);
  alignas(64) uint64_t lanes[8];
  _mm512_store_si512(lanes, sums[0]);
  uint64_t total = 0;
  for (uint64_t lane : lanes) total += lane;
  return total;
}

void f32_avx512(int64_t n_steps) {
  __m512 sums[kChains] = {};
#pragma GCC unroll 12
  for (__m512& sum : sums) asm volatile("" : "+v"(sum));  // equal chains would be computed once
  const __m512 a = _mm512_set1_ps(1), b = _mm512_set1_ps(2);
  for (int64_t step = 0; step < n_steps; ++step)
#pragma GCC unroll 12
    for (__m512& sum : sums) sum = _mm512_fmadd_ps(a, b, sum);
#pragma GCC unroll 12
  for (__m512& sum : sums) asm volatile("" ::"v"(sum));
}

void int8_avx512vnni(int64_t n_steps) {
  __m512i sums[kChains] = {};
#pragma GCC unroll 12
  for (__m512i& sum : sums) asm volatile("" : "+v"(sum));  // equal chains would be computed once
  const __m512i a = _mm512_set1_epi8(1), b = _mm512_set1_epi8(2);
  for (int64_t step = 0; step < n_steps; ++step)
#pragma GCC unroll 12
    for (__m512i& sum : sums) sum = _mm512_dpbusd_epi32(sum, a, b);
#pragma GCC unroll 12
  for (__m512i& sum : sums) asm volatile("" ::"v"(sum));
}

}  // namespace olx::bench::isa
