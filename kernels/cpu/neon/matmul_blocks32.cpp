// Types of 32-column blocks: one scale (and minimum or offset) a block.
#include "kernels/cpu/neon/panel_dot.h"

namespace olx::kernels::cpu {
namespace {

// x = d (n - offset)
template <DType kType, int kOffset>
struct OffsetNibbles {
  static constexpr DType kDType = kType;
  static constexpr bool kHasMinimum = true;
  static constexpr int kSubBlocks = 1;
  static constexpr bool kIsPer16 = false;
  static int8x16_t codes(const uint8_t* q, int, int g) { return split_nibbles(q, g); }
  static void scales(const uint8_t* s, int, int, float32x4_t& w, float32x4_t& m) {
    w = half_scales(s);
    m = vmulq_n_f32(w, (kOffset));
  }
};
using Q4_0 = OffsetNibbles<DType::kQ4_0, 8>;

// x = d n + m: the minimum is added, so it is subtracted with the other sign.
inline void scale_and_minimum(const uint8_t* s, float32x4_t& w, float32x4_t& m) {
  w = half_scales(s);
  m = vnegq_f32(half_scales(s + 2 * kRows));
}

struct Q4_1 {
  static constexpr DType kDType = DType::kQ4_1;
  static constexpr bool kHasMinimum = true;
  static constexpr int kSubBlocks = 1;
  static constexpr bool kIsPer16 = false;
  static int8x16_t codes(const uint8_t* q, int, int g) { return split_nibbles(q, g); }
  static void scales(const uint8_t* s, int, int, float32x4_t& w, float32x4_t& m) { scale_and_minimum(s, w, m); }
};

// Bit g of every byte of unit 4 is bit 4 of the code.
inline int8x16_t five_bit_codes(const uint8_t* q, int g) {
  return or_masked(split_nibbles(q, g), move_bits(load_unit(q, 4), g, 4), 16);
}

struct Q5_0 {
  static constexpr DType kDType = DType::kQ5_0;
  static constexpr bool kHasMinimum = true;
  static constexpr int kSubBlocks = 1;
  static constexpr bool kIsPer16 = false;
  static int8x16_t codes(const uint8_t* q, int, int g) { return five_bit_codes(q, g); }
  static void scales(const uint8_t* s, int, int, float32x4_t& w, float32x4_t& m) {
    w = half_scales(s);
    m = vmulq_n_f32(w, (16));
  }
};

struct Q5_1 {
  static constexpr DType kDType = DType::kQ5_1;
  static constexpr bool kHasMinimum = true;
  static constexpr int kSubBlocks = 1;
  static constexpr bool kIsPer16 = false;
  static int8x16_t codes(const uint8_t* q, int, int g) { return five_bit_codes(q, g); }
  static void scales(const uint8_t* s, int, int, float32x4_t& w, float32x4_t& m) { scale_and_minimum(s, w, m); }
};

struct Q8_0 {
  static constexpr DType kDType = DType::kQ8_0;
  static constexpr bool kHasMinimum = false;
  static constexpr int kSubBlocks = 1;
  static constexpr bool kIsPer16 = false;
  static int8x16_t codes(const uint8_t* q, int, int g) { return veorq_s8(load_unit(q, g), vdupq_n_s8(-128)); }
  static void scales(const uint8_t* s, int, int, float32x4_t& w, float32x4_t& m) {
    w = half_scales(s);
    m = vdupq_n_f32(0);
  }
};

// Codes are indices into a table of 16 values.
inline int8x16_t look_up(int8x16_t indices, const int8_t (&table)[16]) {
  return vqtbl1q_s8(vld1q_s8(table), vreinterpretq_u8_s8(indices));
}
constexpr int8_t kIq4Table[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
constexpr int8_t kFp4Table[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

struct IQ4_NL {
  static constexpr DType kDType = DType::kIQ4_NL;
  static constexpr bool kHasMinimum = false;
  static constexpr int kSubBlocks = 1;
  static constexpr bool kIsPer16 = false;
  static int8x16_t codes(const uint8_t* q, int, int g) {
    return look_up(split_nibbles(q, g), kIq4Table);
  }
  static void scales(const uint8_t* s, int, int, float32x4_t& w, float32x4_t& m) {
    w = half_scales(s);
    m = vdupq_n_f32(0);
  }
};

struct MXFP4 {
  static constexpr DType kDType = DType::kMXFP4;
  static constexpr bool kHasMinimum = false;
  static constexpr int kSubBlocks = 1;
  static constexpr bool kIsPer16 = false;
  static int8x16_t codes(const uint8_t* q, int, int g) {
    return look_up(split_nibbles(q, g), kFp4Table);
  }
  // 2^(e - 128): the exponent field is e - 1 for e >= 2; 0 and 1 are subnormal.
  static void scales(const uint8_t* s, int, int, float32x4_t& w, float32x4_t& m) {
    const uint32x4_t e = widen_u8(s);
    const uint32x4_t normal = vshlq_n_u32(vsubq_u32(e, vdupq_n_u32(1)), 23);
    const uint32x4_t subnormal = vshlq_u32(vdupq_n_u32(0x00200000), vreinterpretq_s32_u32(e));
    w = vreinterpretq_f32_u32(vbslq_u32(vcgtq_u32(e, vdupq_n_u32(1)), normal, subnormal));
    m = vdupq_n_f32(0);
  }
};

}  // namespace

void matmul_q4_0_neon(const MatmulArgs& args, RowRange range) { matmul_panels<Q4_0>(args, range); }
void matmul_q4_1_neon(const MatmulArgs& args, RowRange range) { matmul_panels<Q4_1>(args, range); }
void matmul_q5_0_neon(const MatmulArgs& args, RowRange range) { matmul_panels<Q5_0>(args, range); }
void matmul_q5_1_neon(const MatmulArgs& args, RowRange range) { matmul_panels<Q5_1>(args, range); }
void matmul_q8_0_neon(const MatmulArgs& args, RowRange range) { matmul_panels<Q8_0>(args, range); }
void matmul_iq4_nl_neon(const MatmulArgs& args, RowRange range) { matmul_panels<IQ4_NL>(args, range); }
void matmul_mxfp4_neon(const MatmulArgs& args, RowRange range) { matmul_panels<MXFP4>(args, range); }

}  // namespace olx::kernels::cpu
