#pragma once
// Lanes of AVX-512 and its VNNI: what cpu/panel_formats.h, panel_dot.h and panel_block.h are
// written in.

#include <immintrin.h>

#include <cstdint>

#include "kernels/cpu/memory_streams.h"

namespace olx::kernels::cpu {
namespace {

template <typename Format, int kTokens>
class DotTile;  // of panel_block.h

struct Lanes {
  template <typename Format, int kTokens>
  using Tile = DotTile<Format, kTokens>;
  static constexpr int kRows = 16;
  static constexpr int kLargestOffset = 128;  // vpdpbusd: any unsigned byte
  using Bytes = __m512i;
  using Floats = __m512;
  using Ints = __m512i;
  static constexpr int kTileColumns = 5;
  static constexpr int kTileColumns16 = 3;
  static constexpr int kTileTokens = 4;
  static constexpr int kFewTokens = 16;
  static constexpr int64_t kBlockTokens = 128;
  static constexpr int64_t kSecondLevelBytes = 1 << 20;
  static constexpr int64_t kPrefetchBytes = 2304;
  static constexpr int kStreams = 4;
  static bool prefers_streams() { return kMemoryPrefersStreams; }
  static Bytes load(const uint8_t* q, int unit) { return _mm512_load_si512(q + 64 * unit); }
  static Bytes low_bits(Bytes x, char mask) { return _mm512_and_si512(x, _mm512_set1_epi8(mask)); }
  static Bytes high_nibbles(Bytes x) { return low_bits(_mm512_srli_epi16(x, 4), 15); }
  static Bytes or_bits(Bytes a, Bytes b, char mask) { return _mm512_ternarylogic_epi32(a, b, _mm512_set1_epi8(mask), 0xf8); }
  static Bytes move_bits(Bytes x, int from, int to) {
    return from >= to ? _mm512_srli_epi16(x, static_cast<unsigned>(from - to)) : _mm512_slli_epi16(x, static_cast<unsigned>(to - from));
  }
  static Bytes flip_signs(Bytes x) { return _mm512_xor_si512(x, _mm512_set1_epi8(-128)); }
  static Bytes look_up(const int8_t (&table)[16], Bytes indices) {
    return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(table))), indices);
  }
  static Floats f16(const uint8_t* s) { return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(s))); }
  static Floats u8(const uint8_t* s) { return _mm512_cvtepi32_ps(wide(s)); }
  static Floats i8(const uint8_t* s) {
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(s))));
  }
  static Floats low_nibble(const uint8_t* s) { return _mm512_cvtepi32_ps(low_nibbles(s)); }
  static Floats high_nibble(const uint8_t* s) { return _mm512_cvtepi32_ps(upper_nibbles(s)); }
  static Ints low_nibbles(const uint8_t* s) { return _mm512_and_si512(wide(s), _mm512_set1_epi32(15)); }
  static Ints upper_nibbles(const uint8_t* s) { return _mm512_srli_epi32(wide(s), 4); }
  static Floats low_six(const uint8_t* s) { return _mm512_cvtepi32_ps(_mm512_and_si512(wide(s), _mm512_set1_epi32(63))); }
  static Floats six_bits(Ints high, const uint8_t* s) {
    return _mm512_cvtepi32_ps(_mm512_or_si512(_mm512_slli_epi32(high, 2), _mm512_srli_epi32(wide(s), 6)));
  }
  // The exponent field is s - 1 for s >= 2; 0 and 1 are subnormal.
  static Floats e8m0(const uint8_t* s) {
    const __m512i e = wide(s);
    const __m512i normal = _mm512_slli_epi32(_mm512_sub_epi32(e, _mm512_set1_epi32(1)), 23);
    const __m512i subnormal = _mm512_sllv_epi32(_mm512_set1_epi32(0x00200000), e);
    return _mm512_castsi512_ps(_mm512_mask_mov_epi32(subnormal, _mm512_cmpge_epi32_mask(e, _mm512_set1_epi32(2)), normal));
  }
  static Floats mul(Floats a, Floats b) { return _mm512_mul_ps(a, b); }
  static Floats mul(Floats a, float b) { return _mm512_mul_ps(a, _mm512_set1_ps(b)); }
  static Floats add(Floats a, float b) { return _mm512_add_ps(a, _mm512_set1_ps(b)); }
  static Floats negated(Floats a) { return _mm512_sub_ps(_mm512_setzero_ps(), a); }
  static Floats zero() { return _mm512_setzero_ps(); }

  static Bytes set(const uint8_t* codes) { return _mm512_set1_epi32(*reinterpret_cast<const int32_t*>(codes)); }
  static Ints set(int32_t x) { return _mm512_set1_epi32(x); }
  static Floats set(float x) { return _mm512_set1_ps(x); }
  static Floats fma(Floats a, Floats b, Floats c) { return _mm512_fmadd_ps(a, b, c); }
  static Floats fnma(Floats a, Floats b, Floats c) { return _mm512_fnmadd_ps(a, b, c); }
  static Ints sum(Ints a, Ints b) { return _mm512_add_epi32(a, b); }
  static Ints minus_shifted(Ints a, Ints b, unsigned n) { return _mm512_sub_epi32(a, _mm512_slli_epi32(b, n)); }
  static Floats sum(Floats a, Floats b) { return _mm512_add_ps(a, b); }
  static Ints dot(Ints sums, Bytes w, Bytes a) { return _mm512_dpbusd_epi32(sums, w, a); }
  static Floats to_floats(Ints x) { return _mm512_cvtepi32_ps(x); }
  static Floats load_rows(const float* p, int64_t n) { return _mm512_maskz_loadu_ps(row_mask(n), p); }
  static void store_rows(float* p, int64_t n, Floats y) { _mm512_mask_storeu_ps(p, row_mask(n), y); }

 private:
  static __mmask16 row_mask(int64_t n) { return n >= 16 ? 0xffff : static_cast<__mmask16>((1u << n) - 1); }
  static __m512i wide(const uint8_t* s) { return _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(s))); }
};

}  // namespace
}  // namespace olx::kernels::cpu

#include "kernels/cpu/dot_products.h"
