// Encoders. Each finds the scales that span the block and rounds to the nearest code: no search over scales, so the
// error is a little above that of tools which search, and the result depends on nothing but the row.
#include "gguf/quantize.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "gguf/blocks.h"
#include "gguf/bytes.h"
#include "gguf/check.h"
#include "gguf/scales.h"

namespace olx::gguf {
namespace {

// Nearest code of x on a grid of `step`; 0 when the step is 0 or the quotient is not a number.
int nearest(float x, float step, int lowest, int highest) {
  if (!(step > 0.0f) && !(step < 0.0f)) return std::clamp(0, lowest, highest);
  const float quotient = x / step;
  if (!(quotient >= static_cast<float>(lowest))) return lowest;
  if (quotient >= static_cast<float>(highest)) return highest;
  return static_cast<int>(std::nearbyint(quotient));
}

// The element of the largest magnitude, with its sign.
float extreme(const float* x, int n) {
  float found = 0.0f;
  for (int i = 0; i < n; ++i)
    if (std::fabs(x[i]) > std::fabs(found)) found = x[i];
  return found;
}

int nearest_index(const int8_t* values, float x, float step) {
  if (step == 0.0f) return 0;
  int best = 0;
  for (int i = 1; i < 16; ++i)
    if (std::fabs(x - step * static_cast<float>(values[i])) < std::fabs(x - step * static_cast<float>(values[best])))
      best = i;
  return best;
}

// Scale and minimum of an affine grid with codes 0..highest whose minimum is not above zero (as Q4_K wants it).
struct Affine {
  float step = 0.0f;
  float minimum = 0.0f;  // subtracted: x = step * code - minimum
};
Affine fit_affine(const float* x, int n, int highest) {
  float low = 0.0f, high = x[0];
  for (int i = 0; i < n; ++i) {
    low = std::min(low, x[i]);
    high = std::max(high, x[i]);
  }
  return {std::max(0.0f, high - low) / static_cast<float>(highest), -low};
}

void encode(const float* x, BlockQ4_0& block) {
  const float d = extreme(x, 32) / -8.0f;  // the extreme element gets code 0, the longer side of the grid
  block.d = f32_to_f16(d);
  for (int i = 0; i < 16; ++i)
    block.qs[i] = static_cast<uint8_t>((nearest(x[i], d, -8, 7) + 8) | (nearest(x[i + 16], d, -8, 7) + 8) << 4);
}

void encode(const float* x, BlockQ4_1& block) {
  const auto [low, high] = std::minmax_element(x, x + 32);
  const float d = (*high - *low) / 15.0f, m = *low;
  block.d = f32_to_f16(d);
  block.m = f32_to_f16(m);
  for (int i = 0; i < 16; ++i)
    block.qs[i] = static_cast<uint8_t>(nearest(x[i] - m, d, 0, 15) | nearest(x[i + 16] - m, d, 0, 15) << 4);
}

void set_five_bits(uint8_t* qs, uint8_t* qh, int i, int code) {
  if (i < 16)
    qs[i] = static_cast<uint8_t>(qs[i] | (code & 15));
  else
    qs[i - 16] = static_cast<uint8_t>(qs[i - 16] | ((code & 15) << 4));
  qh[i / 8] = static_cast<uint8_t>(qh[i / 8] | ((code >> 4) << (i % 8)));
}

void encode(const float* x, BlockQ5_0& block) {
  const float d = extreme(x, 32) / -16.0f;
  block = {};
  block.d = f32_to_f16(d);
  for (int i = 0; i < 32; ++i) set_five_bits(block.qs, block.qh, i, nearest(x[i], d, -16, 15) + 16);
}

void encode(const float* x, BlockQ5_1& block) {
  const auto [low, high] = std::minmax_element(x, x + 32);
  const float d = (*high - *low) / 31.0f, m = *low;
  block = {};
  block.d = f32_to_f16(d);
  block.m = f32_to_f16(m);
  for (int i = 0; i < 32; ++i) set_five_bits(block.qs, block.qh, i, nearest(x[i] - m, d, 0, 31));
}

void encode(const float* x, BlockQ8_0& block) {
  const float d = std::fabs(extreme(x, 32)) / 127.0f;
  block.d = f32_to_f16(d);
  for (int i = 0; i < 32; ++i) block.qs[i] = static_cast<int8_t>(nearest(x[i], d, -127, 127));
}

void encode(const float* x, BlockIQ4_NL& block) {
  const float d = extreme(x, 32) / static_cast<float>(kIQ4Values[0]);
  block.d = f32_to_f16(d);
  for (int i = 0; i < 16; ++i)
    block.qs[i] = static_cast<uint8_t>(nearest_index(kIQ4Values, x[i], d) | nearest_index(kIQ4Values, x[i + 16], d) << 4);
}

void encode(const float* x, BlockMXFP4& block) {
  const float high = std::fabs(extreme(x, 32));
  // The largest code stands for 12 * 2^(e - 128): the smallest power of two that reaches it.
  int exponent = 0;
  if (high > 0.0f && std::isfinite(high)) exponent = std::clamp(std::ilogb(high / 12.0f) + 1 + 128, 0, 254);
  block.e = static_cast<uint8_t>(exponent);
  const float d = mxfp4_scale(block.e);
  for (int i = 0; i < 16; ++i)
    block.qs[i] =
        static_cast<uint8_t>(nearest_index(kFp4Doubled, x[i], d) | nearest_index(kFp4Doubled, x[i + 16], d) << 4);
}

void encode(const float* x, BlockQ2_K& block) {
  Affine parts[16];
  float max_step = 0.0f, max_minimum = 0.0f;
  for (int k = 0; k < 16; ++k) {
    parts[k] = fit_affine(x + 16 * k, 16, 3);
    max_step = std::max(max_step, parts[k].step);
    max_minimum = std::max(max_minimum, parts[k].minimum);
  }
  block = {};
  block.d = f32_to_f16(max_step / 15.0f);
  block.dmin = f32_to_f16(max_minimum / 15.0f);
  const float d = f16_to_f32(block.d), dmin = f16_to_f32(block.dmin);
  for (int k = 0; k < 16; ++k) {
    const int scale = nearest(parts[k].step, d, 0, 15), minimum = nearest(parts[k].minimum, dmin, 0, 15);
    block.scales[k] = static_cast<uint8_t>(scale | minimum << 4);
    for (int i = 0; i < 16; ++i) {
      const int e = 16 * k + i, h = e / 128, j = e % 128 / 32, l = e % 32;
      const int code = nearest(x[e] + dmin * static_cast<float>(minimum), d * static_cast<float>(scale), 0, 3);
      block.qs[32 * h + l] = static_cast<uint8_t>(block.qs[32 * h + l] | code << (2 * j));
    }
  }
}

void encode(const float* x, BlockQ3_K& block) {
  float steps[16];
  float extreme_step = 0.0f;
  for (int k = 0; k < 16; ++k) {
    steps[k] = extreme(x + 16 * k, 16) / -4.0f;
    if (std::fabs(steps[k]) > std::fabs(extreme_step)) extreme_step = steps[k];
  }
  block = {};
  block.d = f32_to_f16(extreme_step / -32.0f);
  const float d = f16_to_f32(block.d);
  uint8_t scales[16];
  for (int k = 0; k < 16; ++k) {
    const int scale = nearest(steps[k], d, -32, 31);
    scales[k] = static_cast<uint8_t>(scale + 32);
    for (int i = 0; i < 16; ++i) {
      const int e = 16 * k + i, h = e / 128, j = e % 128 / 32, l = e % 32;
      const int code = nearest(x[e], d * static_cast<float>(scale), -4, 3) + 4;
      block.qs[32 * h + l] = static_cast<uint8_t>(block.qs[32 * h + l] | (code & 3) << (2 * j));
      block.hmask[l] = static_cast<uint8_t>(block.hmask[l] | (code >> 2) << (4 * h + j));
    }
  }
  pack_scales_q3_k(scales, block.scales);
}

// Q4_K and Q5_K differ in the number of codes only; put(e, code) stores one.
template <typename Block, typename Put>
void encode_affine_32(const float* x, Block& block, int highest, Put put) {
  Affine parts[8];
  float max_step = 0.0f, max_minimum = 0.0f;
  for (int k = 0; k < 8; ++k) {
    parts[k] = fit_affine(x + 32 * k, 32, highest);
    max_step = std::max(max_step, parts[k].step);
    max_minimum = std::max(max_minimum, parts[k].minimum);
  }
  block = {};
  block.d = f32_to_f16(max_step / 63.0f);
  block.dmin = f32_to_f16(max_minimum / 63.0f);
  const float d = f16_to_f32(block.d), dmin = f16_to_f32(block.dmin);
  uint8_t scales[8], mins[8];
  for (int k = 0; k < 8; ++k) {
    scales[k] = static_cast<uint8_t>(nearest(parts[k].step, d, 0, 63));
    mins[k] = static_cast<uint8_t>(nearest(parts[k].minimum, dmin, 0, 63));
    for (int i = 0; i < 32; ++i)
      put(32 * k + i, nearest(x[32 * k + i] + dmin * static_cast<float>(mins[k]),
                              d * static_cast<float>(scales[k]), 0, highest));
  }
  pack_scales_q4_k(scales, mins, block.scales);
}

void put_nibble(uint8_t* qs, int e, int code) {
  uint8_t& byte = qs[32 * (e / 64) + e % 32];
  byte = static_cast<uint8_t>(byte | (code & 15) << (4 * (e / 32 & 1)));
}

void encode(const float* x, BlockQ4_K& block) {
  encode_affine_32(x, block, 15, [&](int e, int code) { put_nibble(block.qs, e, code); });
}

void encode(const float* x, BlockQ5_K& block) {
  encode_affine_32(x, block, 31, [&](int e, int code) {
    put_nibble(block.qs, e, code);
    block.qh[e % 32] = static_cast<uint8_t>(block.qh[e % 32] | (code >> 4) << (e / 32));
  });
}

void encode(const float* x, BlockQ6_K& block) {
  float steps[16];
  float extreme_step = 0.0f;
  for (int k = 0; k < 16; ++k) {
    steps[k] = extreme(x + 16 * k, 16) / -32.0f;
    if (std::fabs(steps[k]) > std::fabs(extreme_step)) extreme_step = steps[k];
  }
  block = {};
  block.d = f32_to_f16(extreme_step / -128.0f);
  const float d = f16_to_f32(block.d);
  for (int k = 0; k < 16; ++k) {
    const int scale = nearest(steps[k], d, -128, 127);
    block.scales[k] = static_cast<int8_t>(scale);
    for (int i = 0; i < 16; ++i) {
      const int e = 16 * k + i, h = e / 128, j = e % 128 / 32, l = e % 32;
      const int code = nearest(x[e], d * static_cast<float>(scale), -32, 31) + 32;
      uint8_t& low = block.ql[64 * h + 32 * (j & 1) + l];
      low = static_cast<uint8_t>(low | (code & 15) << (4 * (j >> 1)));
      block.qh[32 * h + l] = static_cast<uint8_t>(block.qh[32 * h + l] | (code >> 4) << (2 * j));
    }
  }
}

void encode(const float* x, BlockIQ4_XS& block) {
  float steps[8];
  float extreme_step = 0.0f;
  for (int k = 0; k < 8; ++k) {
    steps[k] = extreme(x + 32 * k, 32) / static_cast<float>(kIQ4Values[0]);
    if (std::fabs(steps[k]) > std::fabs(extreme_step)) extreme_step = steps[k];
  }
  block = {};
  block.d = f32_to_f16(extreme_step / -32.0f);
  const float d = f16_to_f32(block.d);
  for (int k = 0; k < 8; ++k) {
    const int scale = nearest(steps[k], d, -32, 31);
    const int bits = scale + 32;
    block.scales_l[k / 2] = static_cast<uint8_t>(block.scales_l[k / 2] | (bits & 15) << (4 * (k % 2)));
    block.scales_h = static_cast<uint16_t>(block.scales_h | (bits >> 4) << (2 * k));
    const float step = d * static_cast<float>(scale);
    for (int l = 0; l < 16; ++l)
      block.qs[16 * k + l] = static_cast<uint8_t>(nearest_index(kIQ4Values, x[32 * k + l], step) |
                                                  nearest_index(kIQ4Values, x[32 * k + l + 16], step) << 4);
  }
}

template <typename Block>
void encode_row(const float* src, void* dst, int64_t n_elems, int64_t block_elems) {
  char* bytes = static_cast<char*>(dst);
  for (int64_t i = 0; i < n_elems; i += block_elems, bytes += sizeof(Block)) {
    Block block{};
    encode(src + i, block);
    store(bytes, block);
  }
}

template <typename T>
void convert_row(const float* src, void* dst, int64_t n_elems) {
  char* bytes = static_cast<char*>(dst);
  for (int64_t i = 0; i < n_elems; ++i, bytes += sizeof(T)) store(bytes, static_cast<T>(src[i]));
}

// Rounds into the range of an integer type; what does not fit is clamped, NaN is 0.
template <typename T>
void round_row(const float* src, void* dst, int64_t n_elems) {
  constexpr double kLow = static_cast<double>(std::numeric_limits<T>::min());
  constexpr double kHigh = static_cast<double>(std::numeric_limits<T>::max());
  char* bytes = static_cast<char*>(dst);
  for (int64_t i = 0; i < n_elems; ++i, bytes += sizeof(T)) {
    const double x = std::nearbyint(static_cast<double>(src[i]));
    T value = 0;
    if (x >= kHigh)
      value = std::numeric_limits<T>::max();
    else if (x <= kLow)
      value = std::numeric_limits<T>::min();
    else if (x == x)
      value = static_cast<T>(x);
    store(bytes, value);
  }
}

}  // namespace

void quantize_row(DType dtype, const float* src, void* dst, int64_t n_elems) {
  OLX_CHECK(n_elems >= 0 && n_elems % dtype_info(dtype).block_elems == 0);
  char* bytes = static_cast<char*>(dst);
  switch (dtype) {
    case DType::kF32: std::memcpy(dst, src, static_cast<size_t>(n_elems) * sizeof(float)); return;
    case DType::kF16:
      for (int64_t i = 0; i < n_elems; ++i) store(bytes + 2 * i, f32_to_f16(src[i]));
      return;
    case DType::kBF16:
      for (int64_t i = 0; i < n_elems; ++i) store(bytes + 2 * i, f32_to_bf16(src[i]));
      return;
    case DType::kI8: return round_row<int8_t>(src, dst, n_elems);
    case DType::kI16: return round_row<int16_t>(src, dst, n_elems);
    case DType::kI32: return round_row<int32_t>(src, dst, n_elems);
    case DType::kI64: return round_row<int64_t>(src, dst, n_elems);
    case DType::kF64: return convert_row<double>(src, dst, n_elems);
    case DType::kQ4_0: return encode_row<BlockQ4_0>(src, dst, n_elems, 32);
    case DType::kQ4_1: return encode_row<BlockQ4_1>(src, dst, n_elems, 32);
    case DType::kQ5_0: return encode_row<BlockQ5_0>(src, dst, n_elems, 32);
    case DType::kQ5_1: return encode_row<BlockQ5_1>(src, dst, n_elems, 32);
    case DType::kQ8_0: return encode_row<BlockQ8_0>(src, dst, n_elems, 32);
    case DType::kIQ4_NL: return encode_row<BlockIQ4_NL>(src, dst, n_elems, 32);
    case DType::kMXFP4: return encode_row<BlockMXFP4>(src, dst, n_elems, 32);
    case DType::kQ2_K: return encode_row<BlockQ2_K>(src, dst, n_elems, 256);
    case DType::kQ3_K: return encode_row<BlockQ3_K>(src, dst, n_elems, 256);
    case DType::kQ4_K: return encode_row<BlockQ4_K>(src, dst, n_elems, 256);
    case DType::kQ5_K: return encode_row<BlockQ5_K>(src, dst, n_elems, 256);
    case DType::kQ6_K: return encode_row<BlockQ6_K>(src, dst, n_elems, 256);
    case DType::kIQ4_XS: return encode_row<BlockIQ4_XS>(src, dst, n_elems, 256);
  }
  OLX_CHECK(false);
}

}  // namespace olx::gguf
