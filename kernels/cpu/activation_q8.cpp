#include "kernels/cpu/activation_q8.h"

#include <bit>
#include <vector>

#include "gguf/bytes.h"

namespace olx::kernels {
namespace cpu {
namespace {

int64_t size_bytes(int64_t n_tokens, int64_t n_cols) { return q8_matrix_bytes(n_tokens, n_cols); }
int64_t fine_size_bytes(int64_t n_tokens, int64_t n_cols) { return 2 * q8_matrix_bytes(n_tokens, n_cols); }

int64_t mixed_size_bytes(int64_t n_tokens, int64_t n_cols) {
  // Two bytes a column are the larger share, and up to 15 tokens of the last tile may be missing.
  const int64_t n_tiles = (n_tokens + 2 * (kBf16TileTokens - 1)) / kBf16TileTokens;
  return 64 + bf16_token_offset(n_tiles * kBf16TileTokens, n_cols);
}

void decode_q8(const void* data, int64_t n_tokens, int64_t n_cols, int64_t token, float* x) {
  const int64_t group = token / kQ8GroupTokens, n = q8_group_size(group, n_tokens), column = token % kQ8GroupTokens;
  const auto* block = static_cast<const int8_t*>(data) + q8_group_offset(group, n_cols);
  for (int64_t b = 0; b < n_cols / kQ8BlockCols; ++b, block += n * kQ8BytesPerTokenBlock) {
    const float d = gguf::load<float>(block + 32 * n + 4 * column);
    for (int64_t i = 0; i < kQ8BlockCols; ++i)
      x[b * kQ8BlockCols + i] = d * static_cast<float>(block[(i / 4 * n + column) * 4 + i % 4]);
  }
}

void decode(const ActivationView& from, int64_t token, float* x) {
  decode_q8(from.data, from.n_tokens, from.n_cols, token, x);
}

// For tests and the reference backend.
void decode_fine(const ActivationView& from, int64_t token, float* x) {
  decode(from, token, x);
  const void* second = static_cast<const int8_t*>(from.data) + q8_matrix_bytes(from.n_tokens, from.n_cols);
  std::vector<float> rest(static_cast<size_t>(from.n_cols));
  decode_q8(second, from.n_tokens, from.n_cols, token, rest.data());
  for (int64_t i = 0; i < from.n_cols; ++i) x[i] += rest[static_cast<size_t>(i)];
}

void decode_mixed(const ActivationView& from, int64_t token, float* x) {
  const int64_t n_single = from.n_tokens - from.n_prompt;
  if (token < n_single) return decode_q8(from.data, n_single, from.n_cols, token, x);
  const auto* row = static_cast<const uint8_t*>(from.data) + bf16_tiles_offset(n_single, from.n_cols) +
                    bf16_token_offset(token - n_single, from.n_cols);
  for (int64_t col = 0; col < from.n_cols; ++col) {
    const auto bits = gguf::load<uint16_t>(row + col / kQ8BlockCols * kBf16TileBytes + col % kQ8BlockCols * 2);
    x[col] = std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
  }
}

}  // namespace
}  // namespace cpu

// Rounding to the nearest code errs by half a step of max|x| / 127; the rest is the rounding of d itself.
const ActivationFormat kActivationQ8{"q8", cpu::size_bytes, cpu::decode, 0.5 / 127 * (1 + 1e-5), cpu::kQ8BlockCols, 0, cpu::kQ8GroupTokens};

// Half a step of a rest that is at most half a step itself, and f32 rounding of d q, of the rest and of their sum.
const ActivationFormat kActivationQ8Fine{"q8_fine", cpu::fine_size_bytes, cpu::decode_fine,
                                         0.25 / 127 / 127 * (1 + 1e-4) + 0x1p-22, cpu::kQ8BlockCols, 0, cpu::kQ8GroupTokens};

// The step of q8 is a little larger than that of bfloat16, whose eight bits are what a weight keeps too.
const ActivationFormat kActivationQ8Bf16{"q8_bf16", cpu::mixed_size_bytes, cpu::decode_mixed,
                                         0.5 / 127 * (1 + 1e-5), cpu::kQ8BlockCols, 0x1p-8, cpu::kQ8GroupTokens};

}  // namespace olx::kernels
