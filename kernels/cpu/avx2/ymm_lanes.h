#pragma once
// What the lanes of AVX2 and of AVX-VNNI have in common (cpu/panel_formats.h, panel_dot.h).

#include <immintrin.h>

#include <cstdint>

#include "kernels/cpu/memory_streams.h"

namespace olx::kernels::cpu {
namespace {

template <typename Format, int kTokens>
class DotTile;  // of panel_block.h

struct YmmLanes : OneStream {
  template <typename Format, int kTokens>
  using Tile = DotTile<Format, kTokens>;
  static constexpr int kRows = 8;
  using Bytes = __m256i;
  using Floats = __m256;
  using Ints = __m256i;
  static constexpr int kTileColumns = 4;
  static constexpr int kTileColumns16 = 4;
  static constexpr int kTileTokens = 4;
  static constexpr int kFewTokens = 4;
  static constexpr int64_t kBlockTokens = 64;
  static constexpr int64_t kSecondLevelBytes = 512 << 10;
  static constexpr int64_t kPrefetchBytes = 2048;
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
  static Floats low_nibble(const uint8_t* s) { return _mm256_cvtepi32_ps(low_nibbles(s)); }
  static Floats high_nibble(const uint8_t* s) { return _mm256_cvtepi32_ps(upper_nibbles(s)); }
  static Ints low_nibbles(const uint8_t* s) { return _mm256_and_si256(wide(s), _mm256_set1_epi32(15)); }
  static Ints upper_nibbles(const uint8_t* s) { return _mm256_srli_epi32(wide(s), 4); }
  static Floats low_six(const uint8_t* s) { return _mm256_cvtepi32_ps(_mm256_and_si256(wide(s), _mm256_set1_epi32(63))); }
  static Floats six_bits(Ints high, const uint8_t* s) {
    return _mm256_cvtepi32_ps(_mm256_or_si256(_mm256_slli_epi32(high, 2), _mm256_srli_epi32(wide(s), 6)));
  }
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

  static Bytes set(const uint8_t* codes) { return _mm256_set1_epi32(*reinterpret_cast<const int32_t*>(codes)); }
  static Ints set(int32_t x) { return _mm256_set1_epi32(x); }
  static Floats set(float x) { return _mm256_set1_ps(x); }
  static Floats fma(Floats a, Floats b, Floats c) { return _mm256_fmadd_ps(a, b, c); }
  static Floats fnma(Floats a, Floats b, Floats c) { return _mm256_fnmadd_ps(a, b, c); }
  static Ints sum(Ints a, Ints b) { return _mm256_add_epi32(a, b); }
  static Ints minus_shifted(Ints a, Ints b, int n) { return _mm256_sub_epi32(a, _mm256_slli_epi32(b, n)); }
  static Floats sum(Floats a, Floats b) { return _mm256_add_ps(a, b); }
  static Floats to_floats(Ints x) { return _mm256_cvtepi32_ps(x); }
  static Floats load_rows(const float* p, int64_t n) { return _mm256_maskload_ps(p, row_mask(n)); }
  static void store_rows(float* p, int64_t n, Floats y) { _mm256_maskstore_ps(p, row_mask(n), y); }

 private:
  static __m256i row_mask(int64_t n) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n > kRows ? kRows : static_cast<int>(n)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  }
  static __m256i wide(const uint8_t* s) { return _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(s))); }
};

}  // namespace
}  // namespace olx::kernels::cpu
