#pragma once
// Simd of AVX-512: what the templates of cpu/rowwise/ are written in (the list is in cpu/portable/simd.h).

#include <immintrin.h>

#include <cstdint>

#include "kernels/cpu/rowwise/interleave.h"

namespace olx::kernels::cpu {
namespace {

struct Simd {
  static constexpr int64_t kLanes = 16;
  static constexpr int kRegisters = 32;
  using F = __m512;
  static F set(float x) { return _mm512_set1_ps(x); }
  static F load(const float* p) { return _mm512_loadu_ps(p); }
  static void store(float* p, F x) { _mm512_storeu_ps(p, x); }
  static F load_part(const float* p, int64_t n) { return _mm512_maskz_loadu_ps(mask(n), p); }
  static void store_part(float* p, F x, int64_t n) { _mm512_mask_storeu_ps(p, mask(n), x); }
  static F add(F a, F b) { return _mm512_add_ps(a, b); }
  static F sub(F a, F b) { return _mm512_sub_ps(a, b); }
  static F mul(F a, F b) { return _mm512_mul_ps(a, b); }
  static F div(F a, F b) { return _mm512_div_ps(a, b); }
  static F max(F a, F b) { return _mm512_max_ps(a, b); }
  static F min(F a, F b) { return _mm512_min_ps(a, b); }
  static F fma(F a, F b, F c) { return _mm512_fmadd_ps(a, b, c); }
  static F round(F x) { return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
  // What underflows is masked: scaling it takes 75 ns of microcode, and every position that a token does not see underflows.
  static F scale2(F x, F n) { return _mm512_maskz_scalef_ps(_mm512_cmp_ps_mask(n, set(-126.0f), _CMP_GE_OQ), x, n); }
  static float sum(F x) { return _mm512_reduce_add_ps(x); }
  static float largest(F x) { return _mm512_reduce_max_ps(x); }
  static bool are_at_most(F a, F b) { return _mm512_cmp_ps_mask(a, b, _CMP_LE_OQ) == 0xffff; }
  static F load_f16(const uint16_t* p) { return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))); }
  static void store_f16(uint16_t* p, F x) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
  }
  static F load_i8(const int8_t* p) {
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
  }
  static float f16_to_f32(uint16_t bits) { return _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(bits))); }
  // Inside 128 bits by unpacking, then the 128-bit lanes themselves.
  static void transpose(F (&x)[kLanes]) {
    F t[kLanes];
#pragma GCC unroll 8
    for (int i = 0; i < 16; i += 2) {
      t[i] = _mm512_unpacklo_ps(x[i], x[i + 1]);
      t[i + 1] = _mm512_unpackhi_ps(x[i], x[i + 1]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 16; i += 4) {  // then lane l of x[4 r + c] is rows 4 r .. 4 r + 3 of column 4 l + c
      x[i] = unpack_low_pairs(t[i], t[i + 2]);
      x[i + 1] = unpack_high_pairs(t[i], t[i + 2]);
      x[i + 2] = unpack_low_pairs(t[i + 1], t[i + 3]);
      x[i + 3] = unpack_high_pairs(t[i + 1], t[i + 3]);
    }
#pragma GCC unroll 4
    for (int c = 0; c < 4; ++c) {
      const F even_low = _mm512_shuffle_f32x4(x[c], x[4 + c], 0x88), even_high = _mm512_shuffle_f32x4(x[8 + c], x[12 + c], 0x88);
      const F odd_low = _mm512_shuffle_f32x4(x[c], x[4 + c], 0xdd), odd_high = _mm512_shuffle_f32x4(x[8 + c], x[12 + c], 0xdd);
      x[c] = _mm512_shuffle_f32x4(even_low, even_high, 0x88);
      x[4 + c] = _mm512_shuffle_f32x4(odd_low, odd_high, 0x88);
      x[8 + c] = _mm512_shuffle_f32x4(even_low, even_high, 0xdd);
      x[12 + c] = _mm512_shuffle_f32x4(odd_low, odd_high, 0xdd);
    }
  }
  // Lane l of x[i] is the eight elements of row 8 l + i; then inside lanes by unpacking.
  static void transpose_f16(const uint16_t* rows, int64_t stride, F (&low)[8], F (&high)[8]) {
    __m512i x[8];
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) {
      x[i] = _mm512_castsi128_si512(_mm_loadu_si128(reinterpret_cast<const __m128i*>(rows + i * stride)));
      x[i] = _mm512_mask_broadcast_i32x4(x[i], 0x00f0, _mm_loadu_si128(reinterpret_cast<const __m128i*>(rows + (8 + i) * stride)));
      x[i] = _mm512_mask_broadcast_i32x4(x[i], 0x0f00, _mm_loadu_si128(reinterpret_cast<const __m128i*>(rows + (16 + i) * stride)));
      x[i] = _mm512_mask_broadcast_i32x4(x[i], 0xf000, _mm_loadu_si128(reinterpret_cast<const __m128i*>(rows + (24 + i) * stride)));
    }
    transpose_eights<Interleave>(x);
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) {
      low[i] = _mm512_cvtph_ps(_mm512_castsi512_si256(x[i]));
      high[i] = _mm512_cvtph_ps(_mm512_extracti64x4_epi64(x[i], 1));
    }
  }
  // Pairs (a0 b0 a1 b1 ...) <-> (a0 a1 ...), (b0 b1 ...): two vectors of the one, one of each of the other.
  static void split_pairs(const float* p, F& even, F& odd) {
    const __m512i pick = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    const F a = load(p), b = load(p + 16);
    even = _mm512_permutex2var_ps(a, pick, b);
    odd = _mm512_permutex2var_ps(a, _mm512_add_epi32(pick, _mm512_set1_epi32(1)), b);
  }
  static void join_pairs(float* p, F even, F odd) {
    const __m512i low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    store(p, _mm512_permutex2var_ps(even, low, odd));
    store(p + 16, _mm512_permutex2var_ps(even, _mm512_add_epi32(low, _mm512_set1_epi32(8)), odd));
  }

 private:
  struct Interleave {
    static __m512i low(__m512i a, __m512i b) { return _mm512_unpacklo_epi16(a, b); }
    static __m512i high(__m512i a, __m512i b) { return _mm512_unpackhi_epi16(a, b); }
  };
  static F unpack_low_pairs(F a, F b) { return _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(a), _mm512_castps_pd(b))); }
  static F unpack_high_pairs(F a, F b) { return _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(a), _mm512_castps_pd(b))); }
  static __mmask16 mask(int64_t n) { return static_cast<__mmask16>((1u << n) - 1); }
};

}  // namespace
}  // namespace olx::kernels::cpu
