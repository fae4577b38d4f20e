#pragma once
// Types of 32-column blocks: one scale (and minimum or offset) a block.
// Their codes and scales (Format, panel_dot.h) for the matmuls that read 16-row panels.
#include "kernels/cpu/avx512/panel_dot.h"

namespace olx::kernels::cpu {
namespace {

// x = d (n - offset)
template <DType kType, int kOffset>
struct OffsetNibbles {
  static constexpr DType kDType = kType;
  static constexpr int kSubBlocks = 1;
  static constexpr bool kIsPer16 = false;
  static __m512i codes(const uint8_t* q, int, int g) { return split_nibbles(q, g); }
  static void scales(const uint8_t* s, int, int, __m512& w, __m512& m) {
    w = half_scales(s);
    m = _mm512_mul_ps(w, _mm512_set1_ps(kOffset));
  }
};
using Q4_0 = OffsetNibbles<DType::kQ4_0, 8>;

// x = d n + m: the minimum is added, so it is subtracted with the other sign.
inline void scale_and_minimum(const uint8_t* s, __m512& w, __m512& m) {
  w = half_scales(s);
  m = _mm512_sub_ps(_mm512_setzero_ps(), half_scales(s + 2 * kRows));
}

struct Q4_1 {
  static constexpr DType kDType = DType::kQ4_1;
  static constexpr int kSubBlocks = 1;
  static constexpr bool kIsPer16 = false;
  static __m512i codes(const uint8_t* q, int, int g) { return split_nibbles(q, g); }
  static void scales(const uint8_t* s, int, int, __m512& w, __m512& m) { scale_and_minimum(s, w, m); }
};

// Bit g of every byte of unit 4 is bit 4 of the code.
inline __m512i five_bit_codes(const uint8_t* q, int g) {
  const __m512i high = load_unit(q, 4);
  const __m512i moved = g < 4 ? _mm512_slli_epi16(high, static_cast<unsigned>(4 - g)) : _mm512_srli_epi16(high, static_cast<unsigned>(g - 4));
  // nibbles | (moved & 16); bits that crossed a byte border fall outside the mask
  return _mm512_ternarylogic_epi32(split_nibbles(q, g), moved, _mm512_set1_epi8(16), 0xf8);
}

struct Q5_0 {
  static constexpr DType kDType = DType::kQ5_0;
  static constexpr int kSubBlocks = 1;
  static constexpr bool kIsPer16 = false;
  static __m512i codes(const uint8_t* q, int, int g) { return five_bit_codes(q, g); }
  static void scales(const uint8_t* s, int, int, __m512& w, __m512& m) {
    w = half_scales(s);
    m = _mm512_mul_ps(w, _mm512_set1_ps(16));
  }
};

struct Q5_1 {
  static constexpr DType kDType = DType::kQ5_1;
  static constexpr int kSubBlocks = 1;
  static constexpr bool kIsPer16 = false;
  static __m512i codes(const uint8_t* q, int, int g) { return five_bit_codes(q, g); }
  static void scales(const uint8_t* s, int, int, __m512& w, __m512& m) { scale_and_minimum(s, w, m); }
};

struct Q8_0 {
  static constexpr DType kDType = DType::kQ8_0;
  static constexpr int kSubBlocks = 1;
  static constexpr bool kIsPer16 = false;
  static __m512i codes(const uint8_t* q, int, int g) { return load_unit(q, g); }
  static void scales(const uint8_t* s, int, int, __m512& w, __m512& m) {
    w = half_scales(s);
    m = _mm512_mul_ps(w, _mm512_set1_ps(128));
  }
};

// Codes are indices into a table of 16 signed values, made unsigned by the offset.
inline __m512i look_up(__m512i indices, __m128i table) {
  return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(table), indices);
}

struct IQ4_NL {
  static constexpr DType kDType = DType::kIQ4_NL;
  static constexpr int kSubBlocks = 1;
  static constexpr bool kIsPer16 = false;
  static __m512i codes(const uint8_t* q, int, int g) {
    return look_up(split_nibbles(q, g), _mm_setr_epi8(1, 24, 45, 63, 79, 93, 106, 118, static_cast<char>(129), static_cast<char>(141),
                                                      static_cast<char>(153), static_cast<char>(166), static_cast<char>(181),
                                                      static_cast<char>(197), static_cast<char>(217), static_cast<char>(241)));
  }
  static void scales(const uint8_t* s, int, int, __m512& w, __m512& m) {
    w = half_scales(s);
    m = _mm512_mul_ps(w, _mm512_set1_ps(128));
  }
};

struct MXFP4 {
  static constexpr DType kDType = DType::kMXFP4;
  static constexpr int kSubBlocks = 1;
  static constexpr bool kIsPer16 = false;
  static __m512i codes(const uint8_t* q, int, int g) {
    return look_up(split_nibbles(q, g), _mm_setr_epi8(12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0));
  }
  // 2^(e - 128): the exponent field is e - 1 for e >= 2; 0 and 1 are subnormal.
  static void scales(const uint8_t* s, int, int, __m512& w, __m512& m) {
    const __m512i e = _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(s)));
    const __m512i normal = _mm512_slli_epi32(_mm512_sub_epi32(e, _mm512_set1_epi32(1)), 23);
    const __m512i subnormal = _mm512_sllv_epi32(_mm512_set1_epi32(0x00200000), e);
    const __mmask16 is_normal = _mm512_cmpge_epi32_mask(e, _mm512_set1_epi32(2));
    w = _mm512_castsi512_ps(_mm512_mask_mov_epi32(subnormal, is_normal, normal));
    m = _mm512_mul_ps(w, _mm512_set1_ps(12));
  }
};

}  // namespace
}  // namespace olx::kernels::cpu
