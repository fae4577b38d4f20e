// Decoders: one function a block type, straight from the formulas in blocks.h.
// Order of multiplication (it decides the last bit): d * sc first, in f32, then the code, then minus dmin * mn.
#include <bit>
#include <cstring>

#include "gguf/blocks.h"
#include "gguf/bytes.h"
#include "gguf/check.h"
#include "gguf/quantize.h"
#include "gguf/scales.h"

namespace olx::gguf {
namespace {

void decode(const BlockQ4_0& block, float* x) {
  const float d = f16_to_f32(block.d);
  for (int i = 0; i < 16; ++i) {
    x[i] = d * static_cast<float>((block.qs[i] & 15) - 8);
    x[i + 16] = d * static_cast<float>((block.qs[i] >> 4) - 8);
  }
}

void decode(const BlockQ4_1& block, float* x) {
  const float d = f16_to_f32(block.d), m = f16_to_f32(block.m);
  for (int i = 0; i < 16; ++i) {
    x[i] = d * static_cast<float>(block.qs[i] & 15) + m;
    x[i + 16] = d * static_cast<float>(block.qs[i] >> 4) + m;
  }
}

// Code of element i (0..31) of a 5-bit block.
int five_bits(const uint8_t* qs, const uint8_t* qh, int i) {
  const int nibble = i < 16 ? qs[i] & 15 : qs[i - 16] >> 4;
  return nibble | (((qh[i / 8] >> (i % 8)) & 1) << 4);
}

void decode(const BlockQ5_0& block, float* x) {
  const float d = f16_to_f32(block.d);
  for (int i = 0; i < 32; ++i) x[i] = d * static_cast<float>(five_bits(block.qs, block.qh, i) - 16);
}

void decode(const BlockQ5_1& block, float* x) {
  const float d = f16_to_f32(block.d), m = f16_to_f32(block.m);
  for (int i = 0; i < 32; ++i) x[i] = d * static_cast<float>(five_bits(block.qs, block.qh, i)) + m;
}

void decode(const BlockQ8_0& block, float* x) {
  const float d = f16_to_f32(block.d);
  for (int i = 0; i < 32; ++i) x[i] = d * static_cast<float>(block.qs[i]);
}

void decode(const BlockIQ4_NL& block, float* x) {
  const float d = f16_to_f32(block.d);
  for (int i = 0; i < 16; ++i) {
    x[i] = d * static_cast<float>(kIQ4Values[block.qs[i] & 15]);
    x[i + 16] = d * static_cast<float>(kIQ4Values[block.qs[i] >> 4]);
  }
}

void decode(const BlockMXFP4& block, float* x) {
  const float d = mxfp4_scale(block.e);
  for (int i = 0; i < 16; ++i) {
    x[i] = d * static_cast<float>(kFp4Doubled[block.qs[i] & 15]);
    x[i + 16] = d * static_cast<float>(kFp4Doubled[block.qs[i] >> 4]);
  }
}

void decode(const BlockQ2_K& block, float* x) {
  const float d = f16_to_f32(block.d), dmin = f16_to_f32(block.dmin);
  for (int e = 0; e < 256; ++e) {
    const int h = e / 128, j = e % 128 / 32, l = e % 32;
    const uint8_t sc = block.scales[e / 16];
    const int q = (block.qs[32 * h + l] >> (2 * j)) & 3;
    x[e] = d * static_cast<float>(sc & 15) * static_cast<float>(q) - dmin * static_cast<float>(sc >> 4);
  }
}

void decode(const BlockQ3_K& block, float* x) {
  const float d = f16_to_f32(block.d);
  uint8_t scales[16];
  unpack_scales_q3_k(block.scales, scales);
  for (int e = 0; e < 256; ++e) {
    const int h = e / 128, j = e % 128 / 32, l = e % 32;
    const int q = (block.qs[32 * h + l] >> (2 * j)) & 3;
    const int high = (block.hmask[l] >> (4 * h + j)) & 1;
    x[e] = d * static_cast<float>(scales[e / 16] - 32) * static_cast<float>(q + 4 * high - 4);
  }
}

void decode(const BlockQ4_K& block, float* x) {
  const float d = f16_to_f32(block.d), dmin = f16_to_f32(block.dmin);
  uint8_t scales[8], mins[8];
  unpack_scales_q4_k(block.scales, scales, mins);
  for (int e = 0; e < 256; ++e) {
    const int k = e / 32;
    const int n = (block.qs[32 * (e / 64) + e % 32] >> (4 * (k & 1))) & 15;
    x[e] = d * static_cast<float>(scales[k]) * static_cast<float>(n) - dmin * static_cast<float>(mins[k]);
  }
}

void decode(const BlockQ5_K& block, float* x) {
  const float d = f16_to_f32(block.d), dmin = f16_to_f32(block.dmin);
  uint8_t scales[8], mins[8];
  unpack_scales_q4_k(block.scales, scales, mins);
  for (int e = 0; e < 256; ++e) {
    const int k = e / 32, l = e % 32;
    const int n = ((block.qs[32 * (e / 64) + l] >> (4 * (k & 1))) & 15) | (((block.qh[l] >> k) & 1) << 4);
    x[e] = d * static_cast<float>(scales[k]) * static_cast<float>(n) - dmin * static_cast<float>(mins[k]);
  }
}

void decode(const BlockQ6_K& block, float* x) {
  const float d = f16_to_f32(block.d);
  for (int e = 0; e < 256; ++e) {
    const int h = e / 128, j = e % 128 / 32, l = e % 32;
    const int lo = (block.ql[64 * h + 32 * (j & 1) + l] >> (4 * (j >> 1))) & 15;
    const int hi = (block.qh[32 * h + l] >> (2 * j)) & 3;
    x[e] = d * static_cast<float>(block.scales[e / 16]) * static_cast<float>((lo | hi << 4) - 32);
  }
}

void decode(const BlockIQ4_XS& block, float* x) {
  const float d = f16_to_f32(block.d);
  for (int e = 0; e < 256; ++e) {
    const int k = e / 32, l = e % 32;
    const int low = (block.scales_l[k / 2] >> (4 * (k % 2))) & 15;
    const int scale = low | (((block.scales_h >> (2 * k)) & 3) << 4);
    const uint8_t byte = block.qs[16 * k + l % 16];
    const int n = l < 16 ? byte & 15 : byte >> 4;
    x[e] = d * static_cast<float>(scale - 32) * static_cast<float>(kIQ4Values[n]);
  }
}

template <typename Block>
void decode_row(const void* src, float* dst, int64_t n_elems, int64_t block_elems) {
  const char* bytes = static_cast<const char*>(src);
  for (int64_t i = 0; i < n_elems; i += block_elems, bytes += sizeof(Block)) decode(load<Block>(bytes), dst + i);
}

template <typename T>
void convert_row(const void* src, float* dst, int64_t n_elems) {
  const char* bytes = static_cast<const char*>(src);
  for (int64_t i = 0; i < n_elems; ++i) dst[i] = static_cast<float>(load<T>(bytes + i * static_cast<int64_t>(sizeof(T))));
}

}  // namespace

void dequantize_row(DType dtype, const void* src, float* dst, int64_t n_elems) {
  OLX_CHECK(n_elems >= 0 && n_elems % dtype_info(dtype).block_elems == 0);
  const char* bytes = static_cast<const char*>(src);
  switch (dtype) {
    case DType::kF32: std::memcpy(dst, src, static_cast<size_t>(n_elems) * sizeof(float)); return;
    case DType::kF16:
      for (int64_t i = 0; i < n_elems; ++i) dst[i] = f16_to_f32(load<uint16_t>(bytes + 2 * i));
      return;
    case DType::kBF16:
      for (int64_t i = 0; i < n_elems; ++i) dst[i] = bf16_to_f32(load<uint16_t>(bytes + 2 * i));
      return;
    case DType::kI8: return convert_row<int8_t>(src, dst, n_elems);
    case DType::kI16: return convert_row<int16_t>(src, dst, n_elems);
    case DType::kI32: return convert_row<int32_t>(src, dst, n_elems);
    case DType::kI64: return convert_row<int64_t>(src, dst, n_elems);
    case DType::kF64: return convert_row<double>(src, dst, n_elems);
    case DType::kQ4_0: return decode_row<BlockQ4_0>(src, dst, n_elems, 32);
    case DType::kQ4_1: return decode_row<BlockQ4_1>(src, dst, n_elems, 32);
    case DType::kQ5_0: return decode_row<BlockQ5_0>(src, dst, n_elems, 32);
    case DType::kQ5_1: return decode_row<BlockQ5_1>(src, dst, n_elems, 32);
    case DType::kQ8_0: return decode_row<BlockQ8_0>(src, dst, n_elems, 32);
    case DType::kIQ4_NL: return decode_row<BlockIQ4_NL>(src, dst, n_elems, 32);
    case DType::kMXFP4: return decode_row<BlockMXFP4>(src, dst, n_elems, 32);
    case DType::kQ2_K: return decode_row<BlockQ2_K>(src, dst, n_elems, 256);
    case DType::kQ3_K: return decode_row<BlockQ3_K>(src, dst, n_elems, 256);
    case DType::kQ4_K: return decode_row<BlockQ4_K>(src, dst, n_elems, 256);
    case DType::kQ5_K: return decode_row<BlockQ5_K>(src, dst, n_elems, 256);
    case DType::kQ6_K: return decode_row<BlockQ6_K>(src, dst, n_elems, 256);
    case DType::kIQ4_XS: return decode_row<BlockIQ4_XS>(src, dst, n_elems, 256);
  }
  OLX_CHECK(false);
}

}  // namespace olx::gguf
