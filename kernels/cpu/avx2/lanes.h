#pragma once
// Lanes of AVX2: what the formats of cpu/panel_formats.h are written in.

#include <immintrin.h>

#include <cstdint>

namespace olx::kernels::cpu {
namespace {

struct Lanes {
  static constexpr int kRows = 8;
  static constexpr int kLargestOffset = 63;  // vpmaddubsw adds two products in 16 bits: 2 * 127 * 127 fits
  using Bytes = __m256i;
  using Floats = __m256;
  static Bytes load(const uint8_t* q, int unit) { return _mm256_load_si256(reinterpret_cast<const __m256i*>(q + 32 * unit)); }
  static Bytes low_bits(Bytes x, char mask) { return _mm256_and_si256(x, _mm256_set1_epi8(mask)); }
  static Bytes high_nibbles(Bytes x) { return low_bits(_mm256_srli_epi16(x, 4), 15); }
  static Bytes or_bits(Bytes a, Bytes b, char mask) { return _mm256_or_si256(a, low_bits(b, mask)); }
  static Bytes move_bits(Bytes x, int from, int to) {
    return from >= to ? _mm256_srli_epi16(x, from - to) : _mm256_slli_epi16(x, to - from);
  }
  static Bytes flip_signs(Bytes x) { return _mm256_xor_si256(x, _mm256_set1_epi8(-128)); }
  static Bytes look_up(const int8_t (&table)[16], Bytes indices) {
    return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(table))), indices);
  }
  static Floats f16(const uint8_t* s) { return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(s))); }
  static Floats u8(const uint8_t* s) { return _mm256_cvtepi32_ps(wide(s)); }
  static Floats i8(const uint8_t* s) {
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(s))));
  }
  static Floats low_nibble(const uint8_t* s) { return _mm256_cvtepi32_ps(_mm256_and_si256(wide(s), _mm256_set1_epi32(15))); }
  static Floats high_nibble(const uint8_t* s) { return _mm256_cvtepi32_ps(_mm256_srli_epi32(wide(s), 4)); }
  // The exponent field is s - 1 for s >= 2; 0 and 1 are subnormal.
  static Floats e8m0(const uint8_t* s) {
    const __m256i e = wide(s);
    const __m256i normal = _mm256_slli_epi32(_mm256_sub_epi32(e, _mm256_set1_epi32(1)), 23);
    const __m256i subnormal = _mm256_sllv_epi32(_mm256_set1_epi32(0x00200000), e);
    return _mm256_castsi256_ps(_mm256_blendv_epi8(subnormal, normal, _mm256_cmpgt_epi32(e, _mm256_set1_epi32(1))));
  }
  static Floats mul(Floats a, Floats b) { return _mm256_mul_ps(a, b); }
  static Floats mul(Floats a, float b) { return _mm256_mul_ps(a, _mm256_set1_ps(b)); }
  static Floats add(Floats a, float b) { return _mm256_add_ps(a, _mm256_set1_ps(b)); }
  static Floats negated(Floats a) { return _mm256_sub_ps(_mm256_setzero_ps(), a); }
  static Floats zero() { return _mm256_setzero_ps(); }

 private:
  static __m256i wide(const uint8_t* s) { return _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(s))); }
};

}  // namespace
}  // namespace olx::kernels::cpu
