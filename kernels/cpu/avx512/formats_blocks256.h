#pragma once
// Types of 256-column superblocks: eight sub-blocks of 32 columns, scales per 32 or per 16.
// Their codes and scales (Format, panel_dot.h) for the matmuls that read 16-row panels.
#include "kernels/cpu/avx512/panel_dot.h"

namespace olx::kernels::cpu {
namespace {

// Sub-block 2j is the low, 2j + 1 the high nibbles of units 8j .. 8j + 7.
inline __m512i paired_nibbles(const uint8_t* q, int sub, int g) {
  const __m512i unit = load_unit(q, 8 * (sub / 2) + g);
  return sub % 2 == 0 ? low_nibbles(unit) : high_nibbles(unit);
}

// Moves bit (or bits) `from` of every byte to `to`; what crosses a byte border must be masked away by the caller.
inline __m512i move_bits(__m512i x, int from, int to) {
  return from >= to ? _mm512_srli_epi16(x, static_cast<unsigned>(from - to)) : _mm512_slli_epi16(x, static_cast<unsigned>(to - from));
}

// a | (b & mask)
inline __m512i or_masked(__m512i a, __m512i b, char mask) {
  return _mm512_ternarylogic_epi32(a, b, _mm512_set1_epi8(mask), 0xf8);
}

// d sc, dmin mn of Q4_K and Q5_K: planes d, dmin, sc[8], mn[8].
inline void k_scales(const uint8_t* s, int sub, __m512& w, __m512& m) {
  w = _mm512_mul_ps(half_scales(s), u8_scales(s + 4 * kRows + kRows * sub));
  m = _mm512_mul_ps(half_scales(s + 2 * kRows), u8_scales(s + 4 * kRows + 8 * kRows + kRows * sub));
}

struct Q4_K {
  static constexpr DType kDType = DType::kQ4_K;
  static constexpr int kSubBlocks = 8;
  static constexpr bool kIsPer16 = false;
  static __m512i codes(const uint8_t* q, int sub, int g) { return paired_nibbles(q, sub, g); }
  static void scales(const uint8_t* s, int sub, int, __m512& w, __m512& m) { k_scales(s, sub, w, m); }
};

struct Q5_K {
  static constexpr DType kDType = DType::kQ5_K;
  static constexpr int kSubBlocks = 8;
  static constexpr bool kIsPer16 = false;
  static __m512i codes(const uint8_t* q, int sub, int g) {
    return or_masked(paired_nibbles(q, sub, g), move_bits(load_unit(q, 32 + g), sub, 4), 16);
  }
  static void scales(const uint8_t* s, int sub, int, __m512& w, __m512& m) { k_scales(s, sub, w, m); }
};

struct Q6_K {
  static constexpr DType kDType = DType::kQ6_K;
  static constexpr int kSubBlocks = 8;
  static constexpr bool kIsPer16 = true;
  static __m512i codes(const uint8_t* q, int sub, int g) {
    const int h = sub / 4, j = sub % 4;
    const __m512i low = load_unit(q, 16 * h + 8 * (j & 1) + g);
    return or_masked(j < 2 ? low_nibbles(low) : high_nibbles(low), move_bits(load_unit(q, 32 + 8 * h + g), 2 * j, 4), 48);
  }
  static void scales(const uint8_t* s, int sub, int half, __m512& w, __m512& m) {
    w = _mm512_mul_ps(half_scales(s), i8_scales(s + 2 * kRows + kRows * (2 * sub + half)));
    m = _mm512_mul_ps(w, _mm512_set1_ps(32));
  }
};

struct Q3_K {
  static constexpr DType kDType = DType::kQ3_K;
  static constexpr int kSubBlocks = 8;
  static constexpr bool kIsPer16 = true;
  static __m512i codes(const uint8_t* q, int sub, int g) {
    const int h = sub / 4, j = sub % 4;
    const __m512i low = _mm512_and_si512(move_bits(load_unit(q, 8 * h + g), 2 * j, 0), _mm512_set1_epi8(3));
    return or_masked(low, move_bits(load_unit(q, 16 + g), sub, 2), 4);
  }
  static void scales(const uint8_t* s, int sub, int half, __m512& w, __m512& m) {
    const __m512 sc = _mm512_sub_ps(u8_scales(s + 2 * kRows + kRows * (2 * sub + half)), _mm512_set1_ps(32));
    w = _mm512_mul_ps(half_scales(s), sc);
    m = _mm512_mul_ps(w, _mm512_set1_ps(4));
  }
};

struct Q2_K {
  static constexpr DType kDType = DType::kQ2_K;
  static constexpr int kSubBlocks = 8;
  static constexpr bool kIsPer16 = true;
  static __m512i codes(const uint8_t* q, int sub, int g) {
    return _mm512_and_si512(move_bits(load_unit(q, 8 * (sub / 4) + g), 2 * (sub % 4), 0), _mm512_set1_epi8(3));
  }
  static void scales(const uint8_t* s, int sub, int half, __m512& w, __m512& m) {
    const __m512i both = _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(s + 4 * kRows + kRows * (2 * sub + half))));
    w = _mm512_mul_ps(half_scales(s), _mm512_cvtepi32_ps(_mm512_and_si512(both, _mm512_set1_epi32(15))));
    m = _mm512_mul_ps(half_scales(s + 2 * kRows), _mm512_cvtepi32_ps(_mm512_srli_epi32(both, 4)));
  }
};

struct IQ4_XS {
  static constexpr DType kDType = DType::kIQ4_XS;
  static constexpr int kSubBlocks = 8;
  static constexpr bool kIsPer16 = false;
  static __m512i codes(const uint8_t* q, int sub, int g) {
    const __m128i table = _mm_setr_epi8(1, 24, 45, 63, 79, 93, 106, 118, static_cast<char>(129), static_cast<char>(141),
                                        static_cast<char>(153), static_cast<char>(166), static_cast<char>(181),
                                        static_cast<char>(197), static_cast<char>(217), static_cast<char>(241));
    return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(table), split_nibbles(q + 16 * kRows * sub, g));
  }
  static void scales(const uint8_t* s, int sub, int, __m512& w, __m512& m) {
    w = _mm512_mul_ps(half_scales(s), _mm512_sub_ps(u8_scales(s + 2 * kRows + kRows * sub), _mm512_set1_ps(32)));
    m = _mm512_mul_ps(w, _mm512_set1_ps(128));
  }
};

}  // namespace
}  // namespace olx::kernels::cpu
