// F32, F16 and BF16 weights times f32 activations: panels of [n_cols][8] elements, one fused multiply-add a token.
#include <immintrin.h>

#include <cstdint>

#include "kernels/api/args.h"
#include "kernels/cpu/panel.h"

namespace olx::kernels::cpu {
namespace {

struct F32 {
  static constexpr DType kDType = DType::kF32;
  static __m256 load(const uint8_t* w) { return _mm256_load_ps(reinterpret_cast<const float*>(w)); }
};
struct F16 {
  static constexpr DType kDType = DType::kF16;
  static __m256 load(const uint8_t* w) { return _mm256_cvtph_ps(_mm_load_si128(reinterpret_cast<const __m128i*>(w))); }
};
struct BF16 {
  static constexpr DType kDType = DType::kBF16;
  static __m256 load(const uint8_t* w) {
    const __m256i bits = _mm256_cvtepu16_epi32(_mm_load_si128(reinterpret_cast<const __m128i*>(w)));
    return _mm256_castsi256_ps(_mm256_slli_epi32(bits, 16));
  }
};

template <typename Format, int kTokens>
inline void panel_times_tokens(const MatmulArgs& args, int64_t row, int64_t token, const uint8_t* panel) {
  constexpr int64_t kStep = 8 * panel_shape(Format::kDType).unit_bytes;
  const float* x[kTokens];
  __m256 y[kTokens];
#pragma GCC unroll 8
  for (int n = 0; n < kTokens; ++n) {
    x[n] = static_cast<const float*>(args.x.data) + (token + n) * args.x.row_stride_elems;
    y[n] = _mm256_setzero_ps();
  }
  for (int64_t k = 0; k < args.w.n_cols; ++k, panel += kStep) {
    const __m256 w = Format::load(panel);
#pragma GCC unroll 8
    for (int n = 0; n < kTokens; ++n) y[n] = _mm256_fmadd_ps(w, _mm256_set1_ps(x[n][k]), y[n]);
  }
  const int64_t left = args.w.n_rows - row;
  const __m256i mask = _mm256_cmpgt_epi32(_mm256_set1_epi32(left > 8 ? 8 : static_cast<int>(left)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
#pragma GCC unroll 8
  for (int n = 0; n < kTokens; ++n) {
    if (args.bias) y[n] = _mm256_add_ps(y[n], _mm256_maskload_ps(args.bias + row, mask));
    const int64_t at = (token + n) * args.y.row_stride_elems + row;
    if (args.residual) y[n] = _mm256_add_ps(y[n], _mm256_maskload_ps(args.residual + at, mask));
    _mm256_maskstore_ps(args.y.data + at, mask, y[n]);
  }
}

template <typename Format>
inline void matmul_float(const MatmulArgs& args, RowRange range) {
  const int64_t panel_bytes = panel_size_bytes(panel_shape(Format::kDType), args.w.n_cols, 8), n_tokens = args.x.n_tokens;
  for (int64_t row = range.from; row < range.to; row += 8) {
    const uint8_t* panel = static_cast<const uint8_t*>(args.w.data) + row / 8 * panel_bytes;
    int64_t token = 0;
    for (; token + 8 <= n_tokens; token += 8) panel_times_tokens<Format, 8>(args, row, token, panel);
    for (; token + 4 <= n_tokens; token += 4) panel_times_tokens<Format, 4>(args, row, token, panel);
    for (; token < n_tokens; ++token) panel_times_tokens<Format, 1>(args, row, token, panel);
  }
}

}  // namespace

void matmul_f32_avx2(const MatmulArgs& args, RowRange range) { matmul_float<F32>(args, range); }
void matmul_f16_avx2(const MatmulArgs& args, RowRange range) { matmul_float<F16>(args, range); }
void matmul_bf16_avx2(const MatmulArgs& args, RowRange range) { matmul_float<BF16>(args, range); }

}  // namespace olx::kernels::cpu
