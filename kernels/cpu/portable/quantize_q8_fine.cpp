// f32 -> "q8_fine" (activation_q8.h). For all instruction sets: it encodes the input of one matmul, a few rows a step.
#include <cmath>
#include <cstdint>
#include <cstring>

#include "kernels/api/args.h"
#include "kernels/cpu/activation_q8.h"

namespace olx::kernels::cpu {
namespace {

// One block of one token; x becomes what its codes leave over. n tokens are in the group, `column` is the token's place.
void encode_block(float* x, int8_t* block, int64_t n, int64_t column) {
  float largest = 0;
  for (int i = 0; i < kQ8BlockCols; ++i) largest = std::fabs(x[i]) > largest ? std::fabs(x[i]) : largest;
  const float d = largest / 127.0f;
  // A block of subnormals would give an infinite inverse; it is treated as zero. So is one with an infinity.
  const float inverse = largest > 1e-35f && largest < 1e38f ? 127.0f / largest : 0.0f;
  int32_t sums[2] = {0, 0};
  for (int i = 0; i < kQ8BlockCols; ++i) {
    // A NaN must not reach the conversion to an integer.
    const float scaled = x[i] * inverse;
    const int32_t code = scaled >= -127.5f && scaled <= 127.5f ? static_cast<int32_t>(std::nearbyint(scaled)) : 0;
    block[(i / 4 * n + column) * 4 + i % 4] = static_cast<int8_t>(code);
    sums[i / 16] += code;
    x[i] -= d * static_cast<float>(code);
  }
  store_q8_scales(block, n, column, d, sums[0], sums[1]);
}

}  // namespace

void quantize_q8_fine_portable(const QuantizeArgs& args, RowRange range) {
  const int64_t n_cols = args.x.n_cols, n_tokens = args.x.n_rows;
  for (int64_t token = range.from; token < range.to; ++token) {
    const int64_t group = token / kQ8GroupTokens, n = q8_group_size(group, n_tokens), column = token % kQ8GroupTokens;
    auto* block = static_cast<int8_t*>(const_cast<void*>(args.y.data)) + q8_group_offset(group, n_cols);
    for (int64_t b = 0; b < n_cols; b += kQ8BlockCols, block += n * kQ8BytesPerTokenBlock) {
      float x[kQ8BlockCols];
      std::memcpy(x, args.x.row(token) + b, sizeof x);
      encode_block(x, block, n, column);
      encode_block(x, block + q8_matrix_bytes(n_tokens, n_cols), n, column);
    }
  }
}

}  // namespace olx::kernels::cpu
