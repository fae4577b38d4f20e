// F32, F16 and BF16 weights times f32 activations: panels of [n_cols][16] elements, one fused multiply-add a token.
#include <immintrin.h>

#include <cstdint>

#include "kernels/api/args.h"
#include "kernels/cpu/panel.h"

namespace olx::kernels::cpu {
namespace {

struct F32 {
  static constexpr DType kDType = DType::kF32;
  static __m512 load(const uint8_t* w) { return _mm512_load_ps(w); }
};
struct F16 {
  static constexpr DType kDType = DType::kF16;
  static __m512 load(const uint8_t* w) { return _mm512_cvtph_ps(_mm256_load_si256(reinterpret_cast<const __m256i*>(w))); }
};
struct BF16 {
  static constexpr DType kDType = DType::kBF16;
  static __m512 load(const uint8_t* w) {
    const __m512i bits = _mm512_cvtepu16_epi32(_mm256_load_si256(reinterpret_cast<const __m256i*>(w)));
    return _mm512_castsi512_ps(_mm512_slli_epi32(bits, 16));
  }
};

template <typename Format, int kTokens>
inline void panel_times_tokens(const MatmulArgs& args, int64_t row, int64_t token, const uint8_t* panel) {
  constexpr int64_t kStep = 16 * panel_shape(Format::kDType).unit_bytes;
  const float* x[kTokens];
  __m512 y[kTokens];
#pragma GCC unroll 8
  for (int n = 0; n < kTokens; ++n) {
    x[n] = static_cast<const float*>(args.x.data) + (token + n) * args.x.row_stride_elems;
    y[n] = _mm512_setzero_ps();
  }
  for (int64_t k = 0; k < args.w.n_cols; ++k, panel += kStep) {
    const __m512 w = Format::load(panel);
#pragma GCC unroll 8
    for (int n = 0; n < kTokens; ++n) y[n] = _mm512_fmadd_ps(w, _mm512_set1_ps(x[n][k]), y[n]);
  }
  const int64_t left = args.w.n_rows - row;
  const __mmask16 mask = left >= 16 ? 0xffff : static_cast<__mmask16>((1u << left) - 1);
#pragma GCC unroll 8
  for (int n = 0; n < kTokens; ++n) {
    if (args.bias) y[n] = _mm512_add_ps(y[n], _mm512_maskz_loadu_ps(mask, args.bias + row));
    const int64_t at = (token + n) * args.y.row_stride_elems + row;
    if (args.residual) y[n] = _mm512_add_ps(y[n], _mm512_maskz_loadu_ps(mask, args.residual + at));
    _mm512_mask_storeu_ps(args.y.data + at, mask, y[n]);
  }
}

template <typename Format>
inline void matmul_float(const MatmulArgs& args, RowRange range) {
  const int64_t panel_bytes = panel_size_bytes(panel_shape(Format::kDType), args.w.n_cols, 16), n_tokens = args.x.n_tokens;
  for (int64_t row = range.from; row < range.to; row += 16) {
    const uint8_t* panel = static_cast<const uint8_t*>(args.w.data) + row / 16 * panel_bytes;
    int64_t token = 0;
    for (; token + 8 <= n_tokens; token += 8) panel_times_tokens<Format, 8>(args, row, token, panel);
    for (; token + 4 <= n_tokens; token += 4) panel_times_tokens<Format, 4>(args, row, token, panel);
    for (; token < n_tokens; ++token) panel_times_tokens<Format, 1>(args, row, token, panel);
  }
}

}  // namespace

void matmul_f32_avx512(const MatmulArgs& args, RowRange range) { matmul_float<F32>(args, range); }
void matmul_f16_avx512(const MatmulArgs& args, RowRange range) { matmul_float<F16>(args, range); }
void matmul_bf16_avx512(const MatmulArgs& args, RowRange range) { matmul_float<BF16>(args, range); }

}  // namespace olx::kernels::cpu
