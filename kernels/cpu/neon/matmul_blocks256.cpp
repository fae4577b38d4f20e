// Types of 256-column superblocks: eight sub-blocks of 32 columns, scales per 32 or per 16.
#include "kernels/cpu/neon/panel_dot.h"

namespace olx::kernels::cpu {
namespace {

// Sub-block 2j is the low, 2j + 1 the high nibbles of units 8j .. 8j + 7.
inline int8x16_t paired_nibbles(const uint8_t* q, int sub, int g) {
  const int8x16_t unit = load_unit(q, 8 * (sub / 2) + g);
  return sub % 2 == 0 ? low_nibbles(unit) : high_nibbles(unit);
}

// d sc, dmin mn of Q4_K and Q5_K: planes d, dmin, sc[8], mn[8].
inline void k_scales(const uint8_t* s, int sub, float32x4_t& w, float32x4_t& m) {
  w = vmulq_f32(half_scales(s), u8_scales(s + 4 * kRows + kRows * sub));
  m = vmulq_f32(half_scales(s + 2 * kRows), u8_scales(s + 4 * kRows + 8 * kRows + kRows * sub));
}

struct Q4_K {
  static constexpr DType kDType = DType::kQ4_K;
  static constexpr bool kHasMinimum = true;
  static constexpr int kSubBlocks = 8;
  static constexpr bool kIsPer16 = false;
  static int8x16_t codes(const uint8_t* q, int sub, int g) { return paired_nibbles(q, sub, g); }
  static void scales(const uint8_t* s, int sub, int, float32x4_t& w, float32x4_t& m) { k_scales(s, sub, w, m); }
};

struct Q5_K {
  static constexpr DType kDType = DType::kQ5_K;
  static constexpr bool kHasMinimum = true;
  static constexpr int kSubBlocks = 8;
  static constexpr bool kIsPer16 = false;
  static int8x16_t codes(const uint8_t* q, int sub, int g) {
    return or_masked(paired_nibbles(q, sub, g), move_bits(load_unit(q, 32 + g), sub, 4), 16);
  }
  static void scales(const uint8_t* s, int sub, int, float32x4_t& w, float32x4_t& m) { k_scales(s, sub, w, m); }
};

struct Q6_K {
  static constexpr DType kDType = DType::kQ6_K;
  static constexpr bool kHasMinimum = true;
  static constexpr int kSubBlocks = 8;
  static constexpr bool kIsPer16 = true;
  static int8x16_t codes(const uint8_t* q, int sub, int g) {
    const int h = sub / 4, j = sub % 4;
    const int8x16_t low = load_unit(q, 16 * h + 8 * (j & 1) + g);
    return or_masked(j < 2 ? low_nibbles(low) : high_nibbles(low), move_bits(load_unit(q, 32 + 8 * h + g), 2 * j, 4), 48);
  }
  static void scales(const uint8_t* s, int sub, int half, float32x4_t& w, float32x4_t& m) {
    w = vmulq_f32(half_scales(s), i8_scales(s + 2 * kRows + kRows * (2 * sub + half)));
    m = vmulq_n_f32(w, (32));
  }
};

struct Q3_K {
  static constexpr DType kDType = DType::kQ3_K;
  static constexpr bool kHasMinimum = true;
  static constexpr int kSubBlocks = 8;
  static constexpr bool kIsPer16 = true;
  static int8x16_t codes(const uint8_t* q, int sub, int g) {
    const int h = sub / 4, j = sub % 4;
    const int8x16_t low = vandq_s8(move_bits(load_unit(q, 8 * h + g), 2 * j, 0), vdupq_n_s8(3));
    return or_masked(low, move_bits(load_unit(q, 16 + g), sub, 2), 4);
  }
  static void scales(const uint8_t* s, int sub, int half, float32x4_t& w, float32x4_t& m) {
    const float32x4_t sc = vsubq_f32(u8_scales(s + 2 * kRows + kRows * (2 * sub + half)), vdupq_n_f32(32));
    w = vmulq_f32(half_scales(s), sc);
    m = vmulq_n_f32(w, (4));
  }
};

struct Q2_K {
  static constexpr DType kDType = DType::kQ2_K;
  static constexpr bool kHasMinimum = true;
  static constexpr int kSubBlocks = 8;
  static constexpr bool kIsPer16 = true;
  static int8x16_t codes(const uint8_t* q, int sub, int g) {
    return vandq_s8(move_bits(load_unit(q, 8 * (sub / 4) + g), 2 * (sub % 4), 0), vdupq_n_s8(3));
  }
  static void scales(const uint8_t* s, int sub, int half, float32x4_t& w, float32x4_t& m) {
    const uint32x4_t both = widen_u8(s + 4 * kRows + kRows * (2 * sub + half));
    w = vmulq_f32(half_scales(s), vcvtq_f32_u32(vandq_u32(both, vdupq_n_u32(15))));
    m = vmulq_f32(half_scales(s + 2 * kRows), vcvtq_f32_u32(vshrq_n_u32(both, 4)));
  }
};

struct IQ4_XS {
  static constexpr DType kDType = DType::kIQ4_XS;
  static constexpr bool kHasMinimum = false;
  static constexpr int kSubBlocks = 8;
  static constexpr bool kIsPer16 = false;
  static int8x16_t codes(const uint8_t* q, int sub, int g) {
    static const int8_t kTable[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
    return vqtbl1q_s8(vld1q_s8(kTable), vreinterpretq_u8_s8(split_nibbles(q + 16 * kRows * sub, g)));
  }
  static void scales(const uint8_t* s, int sub, int, float32x4_t& w, float32x4_t& m) {
    w = vmulq_f32(half_scales(s), vsubq_f32(u8_scales(s + 2 * kRows + kRows * sub), vdupq_n_f32(32)));
    m = vdupq_n_f32(0);
  }
};

}  // namespace

void matmul_q2_k_neon(const MatmulArgs& args, RowRange range) { matmul_panels<Q2_K>(args, range); }
void matmul_q3_k_neon(const MatmulArgs& args, RowRange range) { matmul_panels<Q3_K>(args, range); }
void matmul_q4_k_neon(const MatmulArgs& args, RowRange range) { matmul_panels<Q4_K>(args, range); }
void matmul_q5_k_neon(const MatmulArgs& args, RowRange range) { matmul_panels<Q5_K>(args, range); }
void matmul_q6_k_neon(const MatmulArgs& args, RowRange range) { matmul_panels<Q6_K>(args, range); }
void matmul_iq4_xs_neon(const MatmulArgs& args, RowRange range) { matmul_panels<IQ4_XS>(args, range); }

}  // namespace olx::kernels::cpu
