// f32 -> "q8" (activation_q8.h): four vectors are a block.
#include <immintrin.h>

#include <cstdint>

#include "kernels/api/args.h"
#include "kernels/cpu/activation_q8.h"

namespace olx::kernels::cpu {
namespace {

inline __m256 absolute(__m256 x) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), x); }

inline float largest_of(__m256 x) {
  __m128 half = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
  half = _mm_max_ps(half, _mm_movehl_ps(half, half));
  return _mm_cvtss_f32(_mm_max_ss(half, _mm_movehdup_ps(half)));
}

inline int32_t sum_of(__m256i x) {
  __m128i half = _mm_add_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
  half = _mm_add_epi32(half, _mm_shuffle_epi32(half, 0x4e));
  return _mm_cvtsi128_si32(_mm_add_epi32(half, _mm_shuffle_epi32(half, 0xb1)));
}

}  // namespace

void quantize_q8_avx2(const QuantizeArgs& args, RowRange range) {
  const int64_t n_cols = args.x.n_cols, n_tokens = args.x.n_rows;
  for (int64_t token = range.from; token < range.to; ++token) {
    const float* x = args.x.row(token);
    const int64_t group = token / kQ8GroupTokens, n = q8_group_size(group, n_tokens), column = token % kQ8GroupTokens;
    auto* block = static_cast<int8_t*>(const_cast<void*>(args.y.data)) + q8_group_offset(group, n_cols);
    for (int64_t b = 0; b < n_cols; b += kQ8BlockCols, block += n * kQ8BytesPerTokenBlock) {
      __m256 v[4];
      __m256 peak = _mm256_setzero_ps();
      for (int i = 0; i < 4; ++i) {
        v[i] = _mm256_loadu_ps(x + b + 8 * i);
        peak = _mm256_max_ps(absolute(v[i]), peak);
      }
      const float largest = largest_of(peak);
      const float d = largest / 127.0f;
      // A block of subnormals would give an infinite inverse; it is treated as zero.
      const __m256 inverse = _mm256_set1_ps(largest > 1e-35f ? 127.0f / largest : 0.0f);
      __m256i q[4];
      for (int i = 0; i < 4; ++i) q[i] = _mm256_cvtps_epi32(_mm256_mul_ps(v[i], inverse));
      // Packing works within 128-bit lanes; the permutation puts the dwords in order again.
      const __m256i packed = _mm256_packs_epi16(_mm256_packs_epi32(q[0], q[1]), _mm256_packs_epi32(q[2], q[3]));
      alignas(32) int32_t dwords[8];
      _mm256_store_si256(reinterpret_cast<__m256i*>(dwords), _mm256_permutevar8x32_epi32(packed, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7)));
      for (int64_t g = 0; g < 8; ++g) *reinterpret_cast<int32_t*>(block + (g * n + column) * 4) = dwords[g];
      store_q8_scales(block, n, column, d, sum_of(_mm256_add_epi32(q[0], q[1])), sum_of(_mm256_add_epi32(q[2], q[3])));
    }
  }
}

}  // namespace olx::kernels::cpu
