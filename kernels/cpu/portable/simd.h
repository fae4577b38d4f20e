#pragma once
// Simd of plain C++: one lane. The list of what the templates of cpu/rowwise/ need; each folder of an instruction set
// has its own simd.h with the same names.

#include <cstdint>

#include "gguf/quantize.h"

namespace olx::kernels::cpu {
namespace {

struct Simd {
  static constexpr int64_t kLanes = 1;
  static constexpr int kRegisters = 16;  // vectors that a tile of sums may count on
  using F = float;
  static F set(float x) { return x; }
  static F load(const float* p) { return *p; }
  static void store(float* p, F x) { *p = x; }
  static F load_part(const float*, int64_t) { return 0.0f; }  // the first n lanes, the rest zero
  static void store_part(float*, F, int64_t) {}
  static F add(F a, F b) { return a + b; }
  static F sub(F a, F b) { return a - b; }
  static F mul(F a, F b) { return a * b; }
  static F div(F a, F b) { return a / b; }
  static F max(F a, F b) { return a > b ? a : b; }
  static F min(F a, F b) { return a < b ? a : b; }
  static F fma(F a, F b, F c) { return a * b + c; }
  static F round(F x) {  // to the nearest integer; |x| < 2^22
    const float shifted = x + 12582912.0f;
    return shifted - 12582912.0f;
  }
  // x 2^n, n whole and within -126 .. 127, or below: then the result is 0.
  static F scale2(F x, F n) {
    const int32_t exponent = static_cast<int32_t>(n) + 127;
    const uint32_t bits = exponent > 0 ? static_cast<uint32_t>(exponent) << 23 : 0;
    float power;
    __builtin_memcpy(&power, &bits, 4);
    return x * power;
  }
  static float sum(F x) { return x; }      // over the lanes
  static float largest(F x) { return x; }  // over the lanes
  static bool are_at_most(F a, F b) { return a <= b; }  // in every lane; a NaN is not
  static F load_f16(const uint16_t* p) { return gguf::f16_to_f32(*p); }
  static void store_f16(uint16_t* p, F x) { *p = gguf::f32_to_f16(x); }
  static F load_i8(const int8_t* p) { return static_cast<float>(*p); }
  static float f16_to_f32(uint16_t bits) { return gguf::f16_to_f32(bits); }
  static void transpose(F (&)[kLanes]) {}  // of a square matrix, a vector a row
  // Eight elements of 2 kLanes rows of half precision, `stride` elements apart: low[i] is element i of the first kLanes rows,
  // high[i] of the others.
  static void transpose_f16(const uint16_t* rows, int64_t stride, F (&low)[8], F (&high)[8]) {
    for (int i = 0; i < 8; ++i) {
      low[i] = load_f16(rows + i);
      high[i] = load_f16(rows + stride + i);
    }
  }
  // Pairs (a0 b0 a1 b1 ...) to (a0 a1 ...), (b0 b1 ...) and back.
  static void split_pairs(const float* p, F& even, F& odd) {
    even = p[0];
    odd = p[1];
  }
  static void join_pairs(float* p, F even, F odd) {
    p[0] = even;
    p[1] = odd;
  }
};

}  // namespace
}  // namespace olx::kernels::cpu
