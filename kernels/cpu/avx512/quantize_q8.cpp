// f32 -> "q8" (activation_q8.h): two vectors are a block.
#include <immintrin.h>

#include <cstdint>

#include "kernels/api/args.h"
#include "kernels/cpu/activation_q8.h"

namespace olx::kernels::cpu {
namespace {

// Sum of 16 lanes; integers, so the order does not matter.
inline int32_t sum16(__m512i x) { return _mm512_reduce_add_epi32(x); }

// Writes 16 codes as four dwords, `stride` bytes apart.
inline void scatter_codes(__m512i codes, int8_t* to, int64_t stride) {
  alignas(16) int32_t dwords[4];
  _mm_store_si128(reinterpret_cast<__m128i*>(dwords), _mm512_cvtepi32_epi8(codes));
  for (int i = 0; i < 4; ++i) *reinterpret_cast<int32_t*>(to + i * stride) = dwords[i];
}

}  // namespace

void quantize_q8_avx512(const QuantizeArgs& args, RowRange range) {
  const int64_t n_cols = args.x.n_cols, n_tokens = args.x.n_rows;
  for (int64_t token = range.from; token < range.to; ++token) {
    const float* x = args.x.row(token);
    const int64_t group = token / kQ8GroupTokens, n = q8_group_size(group, n_tokens), column = token % kQ8GroupTokens;
    auto* block = static_cast<int8_t*>(const_cast<void*>(args.y.data)) + q8_group_offset(group, n_cols);
    for (int64_t b = 0; b < n_cols; b += kQ8BlockCols, block += n * kQ8BytesPerTokenBlock) {
      const __m512 low = _mm512_loadu_ps(x + b), high = _mm512_loadu_ps(x + b + 16);
      const float largest = _mm512_reduce_max_ps(_mm512_max_ps(_mm512_abs_ps(low), _mm512_abs_ps(high)));
      const float d = largest / 127.0f;
      // A block of subnormals would give an infinite inverse; it is treated as zero.
      const float inverse = largest > 1e-35f ? 127.0f / largest : 0.0f;
      const __m512i q_low = _mm512_cvtps_epi32(_mm512_mul_ps(low, _mm512_set1_ps(inverse)));
      const __m512i q_high = _mm512_cvtps_epi32(_mm512_mul_ps(high, _mm512_set1_ps(inverse)));
      scatter_codes(q_low, block + 4 * column, 4 * n);
      scatter_codes(q_high, block + 16 * n + 4 * column, 4 * n);
      store_q8_scales(block, n, column, d, sum16(q_low), sum16(q_high));
    }
  }
}

}  // namespace olx::kernels::cpu
