#pragma once
// How the types of weights lie in panels (panel.h) and what their codes and scales mean: written once, over the byte and
// float vectors of an instruction set. A file of kernels includes the instruction set's lanes.h before this; everything has
// internal linkage.
//
// A Format says how a 32-column sub-block gives codes and scales:
//   kDType, kSubBlocks (sub-blocks of a block), kIsPer16 (scales per 16 columns instead of 32)
//   kIsSigned                    codes are int8, otherwise uint8, of at most kMaxCode
//   kOffset                      x = w (code - kOffset), a power of two; 0: none
//   kHasMinimum                  x = w code - m
//   kHasHighBits                 of every code, in the units before those with its lower bits
//   codes(q, sub, g)             codes of columns 4 g .. 4 g + 3 of sub-block `sub`, for every row of the panel
//   scales(s, sub, half, w, m)   of every row; half is 0 where scales are per 32; m is 0 where there is no minimum
//
// Lanes, of an instruction set:
//   kRows                        rows of a panel
//   Bytes, Floats                kRows x 4 bytes, kRows f32
//   kLargestOffset               signed codes are made unsigned where this adds at most so much to them: what products of
//                                unsigned codes and int8 activations have room for; 0 where codes are multiplied signed
//   load(q, unit) low_bits(x, mask) high_nibbles(x) or_bits(a, b, mask): a | (b & mask)   move_bits(x, from, to): bit
//   `from` of every byte to `to`; what crosses a byte's border is masked away by the caller   flip_signs(x): x ^ 0x80
//   look_up(table, indices)
//   low_six(s) f32 of a plane's lower six bits   low_nibbles(s) upper_nibbles(s) as Ints   six_bits(n, s) f32 of 4 n + s / 64
//   f16(s) u8(s) i8(s) low_nibble(s) high_nibble(s) e8m0(s): a plane of kRows scales as f32; e8m0 is 2^(s - 128)
//   mul(a, b) mul(a, float) add(a, float) negated(a) zero()

#include <cstdint>

#include "kernels/cpu/panel.h"

namespace olx::kernels::cpu {
namespace {

using Bytes = Lanes::Bytes;
using Floats = Lanes::Floats;
constexpr int kRows = Lanes::kRows;
constexpr int64_t kUnitBytes = 4 * kRows;

// Codes that are signed by nature, where the products of an instruction set have room for `offset` more.
constexpr bool becomes_unsigned(int offset) { return offset <= Lanes::kLargestOffset; }

// Values of 4-bit codes, with what is added to make them unsigned.
struct CodeTable {
  int8_t values[16];
};
constexpr CodeTable table_plus(const CodeTable& table, int offset) {
  CodeTable sum{};
  for (int i = 0; i < 16; ++i) sum.values[i] = static_cast<int8_t>(table.values[i] + offset);
  return sum;
}
constexpr CodeTable kIq4Values{{-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113}};
constexpr CodeTable kFp4Values{{0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12}};  // E2M1, doubled

template <DType kType, int kSubBlocksOfBlock, bool kScalesPer16>
struct FormatOf {
  static constexpr DType kDType = kType;
  static constexpr int kSubBlocks = kSubBlocksOfBlock;
  static constexpr bool kIsPer16 = kScalesPer16;
  static constexpr bool kIsSigned = false;
  static constexpr bool kHasMinimum = true;
  static constexpr int kOffset = 0;
  static constexpr bool kHasHighBits = false;
};

// Codes around a middle: x = w (code - kMiddle).
template <DType kType, int kSubBlocksOfBlock, bool kScalesPer16, int kMiddle>
struct CentredFormatOf : FormatOf<kType, kSubBlocksOfBlock, kScalesPer16> {
  static constexpr bool kHasMinimum = false;
  static constexpr int kOffset = kMiddle;
};

// Around zero by nature: x = w code, with an offset where the codes are better unsigned.
template <DType kType, int kSubBlocksOfBlock, int kMiddle>
struct SignedFormatOf : CentredFormatOf<kType, kSubBlocksOfBlock, false, becomes_unsigned(kMiddle) ? kMiddle : 0> {
  static constexpr bool kIsSigned = !becomes_unsigned(kMiddle);
};

// 32-column blocks: columns 0..15 are the low nibbles of units 0..3, columns 16..31 the high ones.
inline Bytes split_nibbles(const uint8_t* q, int g) {
  return g < 4 ? Lanes::low_bits(Lanes::load(q, g), 15) : Lanes::high_nibbles(Lanes::load(q, g - 4));
}
// Bit g of every byte of unit 4 is bit 4 of the code.
inline Bytes five_bit_codes(const uint8_t* q, int g) {
  return Lanes::or_bits(split_nibbles(q, g), Lanes::move_bits(Lanes::load(q, 4), g, 4), 16);
}
// x = d (n - offset)
inline void scale_alone(const uint8_t* s, Floats& w, Floats& m) {
  w = Lanes::f16(s);
  m = Lanes::zero();
}
// x = d n + m: the minimum is added, so it is subtracted with the other sign.
inline void scale_and_minimum(const uint8_t* s, Floats& w, Floats& m) {
  w = Lanes::f16(s);
  m = Lanes::negated(Lanes::f16(s + 2 * kRows));
}

struct Q4_0 : CentredFormatOf<DType::kQ4_0, 1, false, 8> {
  static constexpr int kMaxCode = 15;
  static Bytes codes(const uint8_t* q, int, int g) { return split_nibbles(q, g); }
  static void scales(const uint8_t* s, int, int, Floats& w, Floats& m) { scale_alone(s, w, m); }
};

struct Q4_1 : FormatOf<DType::kQ4_1, 1, false> {
  static constexpr int kMaxCode = 15;
  static Bytes codes(const uint8_t* q, int, int g) { return split_nibbles(q, g); }
  static void scales(const uint8_t* s, int, int, Floats& w, Floats& m) { scale_and_minimum(s, w, m); }
};

struct Q5_0 : CentredFormatOf<DType::kQ5_0, 1, false, 16> {
  static constexpr int kMaxCode = 31;
  static Bytes codes(const uint8_t* q, int, int g) { return five_bit_codes(q, g); }
  static void scales(const uint8_t* s, int, int, Floats& w, Floats& m) { scale_alone(s, w, m); }
};

struct Q5_1 : FormatOf<DType::kQ5_1, 1, false> {
  static constexpr int kMaxCode = 31;
  static Bytes codes(const uint8_t* q, int, int g) { return five_bit_codes(q, g); }
  static void scales(const uint8_t* s, int, int, Floats& w, Floats& m) { scale_and_minimum(s, w, m); }
};

struct Q8_0 : SignedFormatOf<DType::kQ8_0, 1, 128> {
  static constexpr int kMaxCode = 255;
  static Bytes codes(const uint8_t* q, int, int g) {  // stored unsigned
    return kIsSigned ? Lanes::flip_signs(Lanes::load(q, g)) : Lanes::load(q, g);
  }
  static void scales(const uint8_t* s, int, int, Floats& w, Floats& m) { scale_alone(s, w, m); }
};

struct IQ4_NL : SignedFormatOf<DType::kIQ4_NL, 1, 128> {
  static constexpr int kMaxCode = 255;
  static constexpr CodeTable kTable = table_plus(kIq4Values, kIsSigned ? 0 : 128);
  static Bytes codes(const uint8_t* q, int, int g) { return Lanes::look_up(kTable.values, split_nibbles(q, g)); }
  static void scales(const uint8_t* s, int, int, Floats& w, Floats& m) { scale_alone(s, w, m); }
};

struct MXFP4 : SignedFormatOf<DType::kMXFP4, 1, 16> {
  static constexpr int kMaxCode = 28;
  static constexpr CodeTable kTable = table_plus(kFp4Values, kIsSigned ? 0 : 16);
  static Bytes codes(const uint8_t* q, int, int g) { return Lanes::look_up(kTable.values, split_nibbles(q, g)); }
  static void scales(const uint8_t* s, int, int, Floats& w, Floats& m) {
    w = Lanes::e8m0(s);
    m = Lanes::zero();
  }
};

// Superblocks of 256 columns.
// Sub-block 2j is the low, 2j + 1 the high nibbles of units 8j .. 8j + 7.
inline Bytes paired_nibbles(const uint8_t* q, int sub, int g) {
  const Bytes unit = Lanes::load(q, 8 * (sub / 2) + g);
  return sub % 2 == 0 ? Lanes::low_bits(unit, 15) : Lanes::high_nibbles(unit);
}
// d sc, dmin mn of Q4_K and Q5_K: planes d, dmin, eight of sc + 64 (mn % 4), four of two mn / 4.
inline void k_scales(const uint8_t* s, int sub, Floats& w, Floats& m) {
  const uint8_t *joined = s + 4 * kRows + kRows * sub, *high = s + 12 * kRows + kRows * (sub / 2);
  w = Lanes::mul(Lanes::f16(s), Lanes::low_six(joined));
  m = Lanes::mul(Lanes::f16(s + 2 * kRows), Lanes::six_bits(sub % 2 == 0 ? Lanes::low_nibbles(high) : Lanes::upper_nibbles(high), joined));
}

struct Q4_K : FormatOf<DType::kQ4_K, 8, false> {
  static constexpr int kMaxCode = 15;
  static Bytes codes(const uint8_t* q, int sub, int g) { return paired_nibbles(q, sub, g); }
  static void scales(const uint8_t* s, int sub, int, Floats& w, Floats& m) { k_scales(s, sub, w, m); }
};

struct Q5_K : FormatOf<DType::kQ5_K, 8, false> {
  static constexpr bool kHasHighBits = true;
  static constexpr int kMaxCode = 31;
  static Bytes codes(const uint8_t* q, int sub, int g) {
    return Lanes::or_bits(paired_nibbles(q + 8 * kUnitBytes, sub, g), Lanes::move_bits(Lanes::load(q, g), sub, 4), 16);
  }
  static void scales(const uint8_t* s, int sub, int, Floats& w, Floats& m) { k_scales(s, sub, w, m); }
};

struct Q6_K : CentredFormatOf<DType::kQ6_K, 8, true, 32> {
  static constexpr bool kHasHighBits = true;
  static constexpr int kMaxCode = 63;
  static Bytes codes(const uint8_t* q, int sub, int g) {
    const int h = sub / 4, j = sub % 4;
    const Bytes both = Lanes::load(q, 24 * h + 8 + 8 * (j & 1) + g);
    return Lanes::or_bits(j < 2 ? Lanes::low_bits(both, 15) : Lanes::high_nibbles(both),
                          Lanes::move_bits(Lanes::load(q, 24 * h + g), 2 * j, 4), 48);
  }
  static void scales(const uint8_t* s, int sub, int half, Floats& w, Floats& m) {
    w = Lanes::mul(Lanes::f16(s), Lanes::i8(s + 2 * kRows + kRows * (2 * sub + half)));
    m = Lanes::zero();
  }
};

struct Q3_K : CentredFormatOf<DType::kQ3_K, 8, true, 4> {
  static constexpr bool kHasHighBits = true;
  static constexpr int kMaxCode = 7;
  static Bytes codes(const uint8_t* q, int sub, int g) {
    const int h = sub / 4, j = sub % 4;
    const Bytes low = Lanes::low_bits(Lanes::move_bits(Lanes::load(q, 8 + 8 * h + g), 2 * j, 0), 3);
    return Lanes::or_bits(low, Lanes::move_bits(Lanes::load(q, g), sub, 2), 4);
  }
  static void scales(const uint8_t* s, int sub, int half, Floats& w, Floats& m) {
    w = Lanes::mul(Lanes::f16(s), Lanes::add(Lanes::u8(s + 2 * kRows + kRows * (2 * sub + half)), -32));
    m = Lanes::zero();
  }
};

struct Q2_K : FormatOf<DType::kQ2_K, 8, true> {
  static constexpr int kMaxCode = 3;
  static Bytes codes(const uint8_t* q, int sub, int g) {
    return Lanes::low_bits(Lanes::move_bits(Lanes::load(q, 8 * (sub / 4) + g), 2 * (sub % 4), 0), 3);
  }
  static void scales(const uint8_t* s, int sub, int half, Floats& w, Floats& m) {
    const uint8_t* both = s + 4 * kRows + kRows * (2 * sub + half);
    w = Lanes::mul(Lanes::f16(s), Lanes::low_nibble(both));
    m = Lanes::mul(Lanes::f16(s + 2 * kRows), Lanes::high_nibble(both));
  }
};

struct IQ4_XS : SignedFormatOf<DType::kIQ4_XS, 8, 128> {
  static constexpr int kMaxCode = 255;
  static constexpr CodeTable kTable = table_plus(kIq4Values, kIsSigned ? 0 : 128);
  static Bytes codes(const uint8_t* q, int sub, int g) { return Lanes::look_up(kTable.values, split_nibbles(q + 16 * kRows * sub, g)); }
  static void scales(const uint8_t* s, int sub, int, Floats& w, Floats& m) {
    w = Lanes::mul(Lanes::f16(s), Lanes::add(Lanes::u8(s + 2 * kRows + kRows * sub), -32));
    m = Lanes::zero();
  }
};

}  // namespace
}  // namespace olx::kernels::cpu

// Each type with its format, for a macro that makes the kernels of an instruction set.
#define OLX_BLOCKS32(make, isa) \
  make(q4_0, Q4_0, isa)         \
  make(q4_1, Q4_1, isa)         \
  make(q5_0, Q5_0, isa)         \
  make(q5_1, Q5_1, isa)         \
  make(q8_0, Q8_0, isa)         \
  make(iq4_nl, IQ4_NL, isa)     \
  make(mxfp4, MXFP4, isa)
#define OLX_BLOCKS256(make, isa) \
  make(q2_k, Q2_K, isa)          \
  make(q3_k, Q3_K, isa)          \
  make(q4_k, Q4_K, isa)          \
  make(q5_k, Q5_K, isa)          \
  make(q6_k, Q6_K, isa)          \
  make(iq4_xs, IQ4_XS, isa)
