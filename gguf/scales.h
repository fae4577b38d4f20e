#pragma once
// The packed block scales of the K-quants and MXFP4, taken apart and put together again. Used by decoders, encoders and
// weight layouts.

#include <bit>
#include <cstdint>

namespace olx::gguf {

// Q4_K and Q5_K: 12 bytes hold eight 6-bit scales and eight 6-bit minima.
inline void unpack_scales_q4_k(const uint8_t packed[12], uint8_t scales[8], uint8_t mins[8]) {
  for (int j = 0; j < 4; ++j) {
    scales[j] = packed[j] & 63;
    mins[j] = packed[j + 4] & 63;
    scales[j + 4] = static_cast<uint8_t>((packed[j + 8] & 15) | ((packed[j] >> 6) << 4));
    mins[j + 4] = static_cast<uint8_t>((packed[j + 8] >> 4) | ((packed[j + 4] >> 6) << 4));
  }
}

inline void pack_scales_q4_k(const uint8_t scales[8], const uint8_t mins[8], uint8_t packed[12]) {
  for (int j = 0; j < 4; ++j) {
    packed[j] = static_cast<uint8_t>((scales[j] & 63) | ((scales[j + 4] >> 4) << 6));
    packed[j + 4] = static_cast<uint8_t>((mins[j] & 63) | ((mins[j + 4] >> 4) << 6));
    packed[j + 8] = static_cast<uint8_t>((scales[j + 4] & 15) | ((mins[j + 4] & 15) << 4));
  }
}

// Q3_K: 12 bytes hold sixteen 6-bit scales (the formula subtracts 32).
inline void unpack_scales_q3_k(const uint8_t packed[12], uint8_t scales[16]) {
  for (int k = 0; k < 16; ++k) {
    const int low = k < 8 ? packed[k] & 15 : packed[k - 8] >> 4;
    const int high = (packed[8 + k % 4] >> (2 * (k / 4))) & 3;
    scales[k] = static_cast<uint8_t>(low | (high << 4));
  }
}

inline void pack_scales_q3_k(const uint8_t scales[16], uint8_t packed[12]) {
  for (int i = 0; i < 12; ++i) packed[i] = 0;
  for (int k = 0; k < 16; ++k) {
    packed[k % 8] = static_cast<uint8_t>(packed[k % 8] | ((scales[k] & 15) << (k < 8 ? 0 : 4)));
    packed[8 + k % 4] = static_cast<uint8_t>(packed[8 + k % 4] | ((scales[k] >> 4) << (2 * (k / 4))));
  }
}

// 2^(e - 128); e = 0 and 1 are the subnormals 2^-128 and 2^-127.
inline float mxfp4_scale(uint8_t e) {
  const uint32_t bits = e >= 2 ? static_cast<uint32_t>(e - 1) << 23 : 0x00200000u << e;
  return std::bit_cast<float>(bits);
}

}  // namespace olx::gguf
