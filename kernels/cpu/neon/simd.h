#pragma once
// Simd of NEON (armv8.2-a): what the templates of cpu/rowwise/ are written in (the list is in cpu/portable/simd.h).

#include <arm_neon.h>

#include <cstdint>

#include "kernels/cpu/rowwise/interleave.h"

namespace olx::kernels::cpu {
namespace {

struct Simd {
  static constexpr int64_t kLanes = 4;
  static constexpr int kRegisters = 32;
  using F = float32x4_t;
  static F set(float x) { return vdupq_n_f32(x); }
  static F load(const float* p) { return vld1q_f32(p); }
  static void store(float* p, F x) { vst1q_f32(p, x); }
  static F load_part(const float* p, int64_t n) {
    float lanes[4] = {};
    for (int64_t i = 0; i < n; ++i) lanes[i] = p[i];
    return vld1q_f32(lanes);
  }
  static void store_part(float* p, F x, int64_t n) {
    float lanes[4];
    vst1q_f32(lanes, x);
    for (int64_t i = 0; i < n; ++i) p[i] = lanes[i];
  }
  static F add(F a, F b) { return vaddq_f32(a, b); }
  static F sub(F a, F b) { return vsubq_f32(a, b); }
  static F mul(F a, F b) { return vmulq_f32(a, b); }
  static F div(F a, F b) { return vdivq_f32(a, b); }
  static F max(F a, F b) { return vmaxq_f32(a, b); }
  static F min(F a, F b) { return vminq_f32(a, b); }
  static F fma(F a, F b, F c) { return vfmaq_f32(c, a, b); }
  static F round(F x) { return vrndnq_f32(x); }
  // n is within -126 .. 127, or below: then the result is 0.
  static F scale2(F x, F n) {
    const int32x4_t exponent = vmaxq_s32(vaddq_s32(vcvtq_s32_f32(n), vdupq_n_s32(127)), vdupq_n_s32(0));
    return vmulq_f32(x, vreinterpretq_f32_s32(vshlq_n_s32(exponent, 23)));
  }
  static float sum(F x) { return vaddvq_f32(x); }
  static float largest(F x) { return vmaxvq_f32(x); }
  static bool are_at_most(F a, F b) { return vminvq_u32(vcleq_f32(a, b)) != 0; }
  static F load_f16(const uint16_t* p) { return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p))); }
  static void store_f16(uint16_t* p, F x) { vst1_u16(p, vreinterpret_u16_f16(vcvt_f16_f32(x))); }
  static F load_i8(const int8_t* p) {
    int32_t word;
    __builtin_memcpy(&word, p, 4);
    return vcvtq_f32_s32(vmovl_s16(vget_low_s16(vmovl_s8(vreinterpret_s8_s32(vdup_n_s32(word))))));
  }
  static float f16_to_f32(uint16_t bits) { return vgetq_lane_f32(vcvt_f32_f16(vreinterpret_f16_u16(vdup_n_u16(bits))), 0); }
  static void transpose(F (&x)[kLanes]) {
    const float64x2_t low_even = vreinterpretq_f64_f32(vtrn1q_f32(x[0], x[1])), low_odd = vreinterpretq_f64_f32(vtrn2q_f32(x[0], x[1]));
    const float64x2_t high_even = vreinterpretq_f64_f32(vtrn1q_f32(x[2], x[3])), high_odd = vreinterpretq_f64_f32(vtrn2q_f32(x[2], x[3]));
    x[0] = vreinterpretq_f32_f64(vtrn1q_f64(low_even, high_even));
    x[1] = vreinterpretq_f32_f64(vtrn1q_f64(low_odd, high_odd));
    x[2] = vreinterpretq_f32_f64(vtrn2q_f64(low_even, high_even));
    x[3] = vreinterpretq_f32_f64(vtrn2q_f64(low_odd, high_odd));
  }
  static void transpose_f16(const uint16_t* rows, int64_t stride, F (&low)[8], F (&high)[8]) {
    uint16x8_t x[8];
    for (int i = 0; i < 8; ++i) x[i] = vld1q_u16(rows + i * stride);
    transpose_eights<Interleave>(x);
    for (int i = 0; i < 8; ++i) {
      low[i] = vcvt_f32_f16(vreinterpret_f16_u16(vget_low_u16(x[i])));
      high[i] = vcvt_f32_f16(vreinterpret_f16_u16(vget_high_u16(x[i])));
    }
  }
  static void split_pairs(const float* p, F& even, F& odd) {
    const float32x4x2_t pairs = vld2q_f32(p);
    even = pairs.val[0];
    odd = pairs.val[1];
  }
  static void join_pairs(float* p, F even, F odd) { vst2q_f32(p, float32x4x2_t{{even, odd}}); }

 private:
  struct Interleave {
    static uint16x8_t low(uint16x8_t a, uint16x8_t b) { return vzip1q_u16(a, b); }
    static uint16x8_t high(uint16x8_t a, uint16x8_t b) { return vzip2q_u16(a, b); }
  };
};

}  // namespace
}  // namespace olx::kernels::cpu
