#pragma once
// What the lanes of NEON with its dot products and of i8mm have in common (cpu/panel_formats.h, panel_dot.h).

#include <arm_neon.h>

#include <cstdint>

#include "kernels/cpu/memory_streams.h"

namespace olx::kernels::cpu {
namespace {

struct NeonLanes : OneStream {
  static constexpr int kRows = 4;
  static constexpr int kLargestOffset = 0;  // sdot: codes are signed
  using Bytes = int8x16_t;
  using Floats = float32x4_t;
  using Ints = int32x4_t;
  static constexpr int kTileColumns = 4;
  static constexpr int kTileColumns16 = 4;
  static constexpr int kTileTokens = 4;
  static constexpr int kFewTokens = 8;
  static constexpr int64_t kBlockTokens = 64;
  static constexpr int64_t kSecondLevelBytes = 512 << 10;
  static constexpr int64_t kPrefetchBytes = 0;
  static Bytes load(const uint8_t* q, int unit) { return vreinterpretq_s8_u8(vld1q_u8(q + 16 * unit)); }
  static Bytes low_bits(Bytes x, int8_t mask) { return vandq_s8(x, vdupq_n_s8(mask)); }
  static Bytes high_nibbles(Bytes x) { return vreinterpretq_s8_u8(vshrq_n_u8(vreinterpretq_u8_s8(x), 4)); }
  static Bytes or_bits(Bytes a, Bytes b, int8_t mask) { return vorrq_s8(a, low_bits(b, mask)); }
  static Bytes move_bits(Bytes x, int from, int to) {
    return vreinterpretq_s8_u8(vshlq_u8(vreinterpretq_u8_s8(x), vdupq_n_s8(static_cast<int8_t>(to - from))));
  }
  static Bytes flip_signs(Bytes x) { return veorq_s8(x, vdupq_n_s8(-128)); }
  static Bytes look_up(const int8_t (&table)[16], Bytes indices) { return vqtbl1q_s8(vld1q_s8(table), vreinterpretq_u8_s8(indices)); }
  static Floats f16(const uint8_t* s) { return vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(s))); }
  static Floats u8(const uint8_t* s) { return vcvtq_f32_u32(wide(s)); }
  static Floats i8(const uint8_t* s) { return vcvtq_f32_s32(vmovl_s16(vget_low_s16(vmovl_s8(vreinterpret_s8_u8(four(s)))))); }
  static Floats low_nibble(const uint8_t* s) { return vcvtq_f32_s32(low_nibbles(s)); }
  static Floats high_nibble(const uint8_t* s) { return vcvtq_f32_s32(upper_nibbles(s)); }
  static Ints low_nibbles(const uint8_t* s) { return vreinterpretq_s32_u32(vandq_u32(wide(s), vdupq_n_u32(15))); }
  static Ints upper_nibbles(const uint8_t* s) { return vreinterpretq_s32_u32(vshrq_n_u32(wide(s), 4)); }
  static Floats low_six(const uint8_t* s) { return vcvtq_f32_u32(vandq_u32(wide(s), vdupq_n_u32(63))); }
  static Floats six_bits(Ints high, const uint8_t* s) {
    return vcvtq_f32_s32(vorrq_s32(vshlq_n_s32(high, 2), vreinterpretq_s32_u32(vshrq_n_u32(wide(s), 6))));
  }
  // The exponent field is s - 1 for s >= 2; 0 and 1 are subnormal.
  static Floats e8m0(const uint8_t* s) {
    const uint32x4_t e = wide(s);
    const uint32x4_t normal = vshlq_n_u32(vsubq_u32(e, vdupq_n_u32(1)), 23);
    const uint32x4_t subnormal = vshlq_u32(vdupq_n_u32(0x00200000), vreinterpretq_s32_u32(e));
    return vreinterpretq_f32_u32(vbslq_u32(vcgtq_u32(e, vdupq_n_u32(1)), normal, subnormal));
  }
  static Floats mul(Floats a, Floats b) { return vmulq_f32(a, b); }
  static Floats mul(Floats a, float b) { return vmulq_n_f32(a, b); }
  static Floats add(Floats a, float b) { return vaddq_f32(a, vdupq_n_f32(b)); }
  static Floats negated(Floats a) { return vnegq_f32(a); }
  static Floats zero() { return vdupq_n_f32(0); }

  static Bytes set(const uint8_t* codes) { return vreinterpretq_s8_s32(vld1q_dup_s32(reinterpret_cast<const int32_t*>(codes))); }
  static Ints set(int32_t x) { return vdupq_n_s32(x); }
  static Floats set(float x) { return vdupq_n_f32(x); }
  static Floats fma(Floats a, Floats b, Floats c) { return vfmaq_f32(c, a, b); }
  static Floats fnma(Floats a, Floats b, Floats c) { return vfmsq_f32(c, a, b); }
  static Ints sum(Ints a, Ints b) { return vaddq_s32(a, b); }
  static Ints minus_shifted(Ints a, Ints b, int n) { return vsubq_s32(a, vshlq_s32(b, vdupq_n_s32(n))); }
  static Floats sum(Floats a, Floats b) { return vaddq_f32(a, b); }
  static Ints dot(Ints sums, Bytes w, Bytes a) { return vdotq_s32(sums, w, a); }
  static Floats to_floats(Ints x) { return vcvtq_f32_s32(x); }
  static Floats load_rows(const float* p, int64_t n) {
    if (n >= kRows) return vld1q_f32(p);
    float lanes[kRows] = {};
    for (int64_t i = 0; i < n; ++i) lanes[i] = p[i];
    return vld1q_f32(lanes);
  }
  static void store_rows(float* p, int64_t n, Floats y) {
    if (n >= kRows) return vst1q_f32(p, y);
    float lanes[kRows];
    vst1q_f32(lanes, y);
    for (int64_t i = 0; i < n; ++i) p[i] = lanes[i];
  }

 private:
  static uint8x8_t four(const uint8_t* s) {
    uint32_t word;
    __builtin_memcpy(&word, s, 4);
    return vreinterpret_u8_u32(vdup_n_u32(word));
  }
  static uint32x4_t wide(const uint8_t* s) { return vmovl_u16(vget_low_u16(vmovl_u8(four(s)))); }
};

}  // namespace
}  // namespace olx::kernels::cpu
