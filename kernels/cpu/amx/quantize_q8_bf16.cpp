// f32 -> "q8_bf16" (activation_q8.h).
#include <immintrin.h>

#include <cstdint>

#include "kernels/api/args.h"
#include "kernels/cpu/activation_q8.h"

namespace olx::kernels::cpu {
namespace {

// Nearest bfloat16. Infinity stays infinite; a NaN may become anything.
inline __m256i bf16_of(__m512 x) {
  const __m512i rounded = _mm512_add_epi32(_mm512_castps_si512(x), _mm512_set1_epi32(0x8000));
  return _mm512_cvtepi32_epi16(_mm512_srli_epi32(rounded, 16));
}

}  // namespace

void quantize_q8_avx512(const QuantizeArgs& args, RowRange range);

void quantize_q8_bf16_amx(const QuantizeArgs& args, RowRange range) {
  const int64_t n_cols = args.x.n_cols, n_single = args.y.n_tokens - args.y.n_prompt;
  if (range.from < n_single) {
    QuantizeArgs single = args;
    single.x.n_rows = single.y.n_tokens = n_single;
    single.y.format = &kActivationQ8;
    single.y.n_prompt = 0;
    quantize_q8_avx512(single, {range.from, range.to < n_single ? range.to : n_single});
  }
  auto* tiles =
      static_cast<uint8_t*>(const_cast<void*>(args.y.data)) + bf16_tiles_offset(n_single, n_cols);
  for (int64_t token = range.from < n_single ? n_single : range.from; token < range.to; ++token) {
    const float* x = args.x.row(token);
    uint8_t* row = tiles + bf16_token_offset(token - n_single, n_cols);
    for (int64_t col = 0; col < n_cols; col += kQ8BlockCols, row += kBf16TileBytes) {
      _mm256_store_si256(reinterpret_cast<__m256i*>(row), bf16_of(_mm512_loadu_ps(x + col)));
      _mm256_store_si256(reinterpret_cast<__m256i*>(row + 32),
                         bf16_of(_mm512_loadu_ps(x + col + 16)));
    }
  }
}

}  // namespace olx::kernels::cpu
