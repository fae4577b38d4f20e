#include "kernels/cpu/activation_q8.h"

#include <vector>

#include "gguf/bytes.h"

namespace olx::kernels {
namespace cpu {
namespace {

int64_t size_bytes(int64_t n_tokens, int64_t n_cols) { return q8_matrix_bytes(n_tokens, n_cols); }
int64_t fine_size_bytes(int64_t n_tokens, int64_t n_cols) { return 2 * q8_matrix_bytes(n_tokens, n_cols); }

void decode(const void* data, int64_t n_tokens, int64_t n_cols, int64_t token, float* x) {
  const int64_t group = token / kQ8GroupTokens, n = q8_group_size(group, n_tokens), column = token % kQ8GroupTokens;
  const auto* block = static_cast<const int8_t*>(data) + q8_group_offset(group, n_cols);
  for (int64_t b = 0; b < n_cols / kQ8BlockCols; ++b, block += n * kQ8BytesPerTokenBlock) {
    const float d = gguf::load<float>(block + 32 * n + 4 * column);
    for (int64_t i = 0; i < kQ8BlockCols; ++i)
      x[b * kQ8BlockCols + i] = d * static_cast<float>(block[(i / 4 * n + column) * 4 + i % 4]);
  }
}

// For tests and the reference backend.
void decode_fine(const void* data, int64_t n_tokens, int64_t n_cols, int64_t token, float* x) {
  decode(data, n_tokens, n_cols, token, x);
  std::vector<float> rest(static_cast<size_t>(n_cols));
  decode(static_cast<const int8_t*>(data) + q8_matrix_bytes(n_tokens, n_cols), n_tokens, n_cols, token, rest.data());
  for (int64_t i = 0; i < n_cols; ++i) x[i] += rest[static_cast<size_t>(i)];
}

}  // namespace
}  // namespace cpu

// Rounding to the nearest code errs by half a step of max|x| / 127; the rest is the rounding of d itself.
const ActivationFormat kActivationQ8{"q8", cpu::size_bytes, cpu::decode, 0.5 / 127 * (1 + 1e-5), cpu::kQ8BlockCols};

// Half a step of a rest that is at most half a step itself, and f32 rounding of d q, of the rest and of their sum.
const ActivationFormat kActivationQ8Fine{"q8_fine", cpu::fine_size_bytes, cpu::decode_fine,
                                         0.25 / 127 / 127 * (1 + 1e-4) + 0x1p-22, cpu::kQ8BlockCols};

}  // namespace olx::kernels
