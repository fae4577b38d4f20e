#include "kernels/cpu/activation_q8.h"

#include "gguf/bytes.h"

namespace olx::kernels {
namespace cpu {
namespace {

int64_t size_bytes(int64_t n_tokens, int64_t n_cols) {
  return n_tokens * (n_cols / kQ8BlockCols) * kQ8BytesPerTokenBlock;
}

void decode(const void* data, int64_t n_tokens, int64_t n_cols, int64_t token, float* x) {
  const int64_t group = token / kQ8GroupTokens, n = q8_group_size(group, n_tokens), column = token % kQ8GroupTokens;
  const auto* block = static_cast<const int8_t*>(data) + q8_group_offset(group, n_cols);
  for (int64_t b = 0; b < n_cols / kQ8BlockCols; ++b, block += n * kQ8BytesPerTokenBlock) {
    const float d = gguf::load<float>(block + 32 * n + 4 * column);
    for (int64_t i = 0; i < kQ8BlockCols; ++i)
      x[b * kQ8BlockCols + i] = d * static_cast<float>(block[(i / 4 * n + column) * 4 + i % 4]);
  }
}

}  // namespace
}  // namespace cpu

// Rounding to the nearest code errs by half a step of max|x| / 127; the rest is the rounding of d itself.
const ActivationFormat kActivationQ8{"q8", cpu::size_bytes, cpu::decode, 0.5 / 127 * (1 + 1e-5), cpu::kQ8BlockCols};

}  // namespace olx::kernels
