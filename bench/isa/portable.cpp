// Vector extensions of the compiler: SSE2 on x86-64, NEON on AArch64.
#include "bench/isa/loops.h"

namespace olx::bench::isa {
namespace {
using Float4 = float __attribute__((vector_size(16)));
using Word2 = uint64_t __attribute__((vector_size(16)));
}  // namespace

uint64_t read_portable(const void* memory, int64_t size_bytes) {
  const auto* words = static_cast<const Word2*>(memory);
  Word2 sums[8] = {};
  for (int64_t i = 0; i < size_bytes / 16; i += 8)
    for (int j = 0; j < 8; ++j) sums[j] += words[i + j];
  uint64_t total = 0;
  for (const Word2& sum : sums) total += sum[0] + sum[1];
  return total;
}

void f32_portable(int64_t n_steps) {
  Float4 sums[kChains] = {};
  Float4 a = {1, 2, 3, 4};
  const Float4 b = {5, 6, 7, 8};
  for (int64_t step = 0; step < n_steps; ++step)
#pragma GCC unroll 12
    for (Float4& sum : sums) {
#ifdef __x86_64__
      asm("" : "+x"(a));  // a product the compiler could take out of the loop would not be measured
#else
      asm("" : "+w"(a));
#endif
      sum += a * b;
    }
  for (Float4& sum : sums) asm volatile("" ::"m"(sum));
}

}  // namespace olx::bench::isa
