#pragma once
// Byte layout of every quantized block, with the formula that gives back element i. Device compilers include this.
// It holds no code: decoding is in quantize.h, fast decoding in the kernels.
//
// Conventions: little endian, blocks packed back to back, no padding. d, m, dmin are IEEE half floats.
// Source of all layouts: the GGUF specification and the published ggml type definitions; each formula was checked
// against an independent decoder on random blocks.

#include <cstdint>

namespace olx::gguf {

// For 32-element types with 4-bit codes: byte j of qs holds element j (low nibble) and element j + 16 (high nibble).

struct BlockQ4_0 {     // 4.5 bits/weight        x[i] = d * (n - 8)
  uint16_t d;          //  0: scale
  uint8_t qs[16];      //  2: nibbles
};
static_assert(sizeof(BlockQ4_0) == 18);

struct BlockQ4_1 {     // 5 bits/weight          x[i] = d * n + m
  uint16_t d;          //  0: scale
  uint16_t m;          //  2: minimum
  uint8_t qs[16];      //  4: nibbles
};
static_assert(sizeof(BlockQ4_1) == 20);

struct BlockQ5_0 {     // 5.5 bits/weight        x[i] = d * ((n | bit i of qh << 4) - 16)
  uint16_t d;          //  0: scale
  uint8_t qh[4];       //  2: u32, bit i is bit 4 of element i
  uint8_t qs[16];      //  6: nibbles
};
static_assert(sizeof(BlockQ5_0) == 22);

struct BlockQ5_1 {     // 6 bits/weight          x[i] = d * (n | bit i of qh << 4) + m
  uint16_t d;          //  0: scale
  uint16_t m;          //  2: minimum
  uint8_t qh[4];       //  4: u32
  uint8_t qs[16];      //  8: nibbles
};
static_assert(sizeof(BlockQ5_1) == 24);

struct BlockQ8_0 {     // 8.5 bits/weight        x[i] = d * qs[i]
  uint16_t d;          //  0: scale
  int8_t qs[32];       //  2: codes
};
static_assert(sizeof(BlockQ8_0) == 34);

struct BlockIQ4_NL {   // 4.5 bits/weight        x[i] = d * kIQ4Values[n]
  uint16_t d;          //  0: scale
  uint8_t qs[16];      //  2: nibbles
};
static_assert(sizeof(BlockIQ4_NL) == 18);

struct BlockMXFP4 {    // 4.25 bits/weight       x[i] = 2^(e - 128) * kFp4Doubled[n]
  uint8_t e;           //  0: E8M0 exponent; -128 because the table holds doubled values
  uint8_t qs[16];      //  1: nibbles
};
static_assert(sizeof(BlockMXFP4) == 17);

// 256-element superblocks. h = e / 128, j = (e % 128) / 32, l = e % 32, k = e / 32.

struct BlockQ2_K {     // 2.625 bits/weight      x[e] = d * (sc & 15) * q - dmin * (sc >> 4), sc = scales[e / 16]
  uint8_t scales[16];  //  0: low nibble scale, high nibble minimum, per 16 elements
  uint8_t qs[64];      // 16: q = (qs[32h + l] >> 2j) & 3
  uint16_t d;          // 80
  uint16_t dmin;       // 82
};
static_assert(sizeof(BlockQ2_K) == 84);

struct BlockQ3_K {     // 3.4375 bits/weight     x[e] = d * (sc[e / 16] - 32) * (q + 4 * hb - 4)
  uint8_t hmask[32];   //  0: hb = (hmask[l] >> (4h + j)) & 1
  uint8_t qs[64];      // 32: q = (qs[32h + l] >> 2j) & 3
  uint8_t scales[12];  // 96: sixteen 6-bit values: low 4 bits in bytes 0..7, high 2 bits in bytes 8..11
  uint16_t d;          // 108
};
static_assert(sizeof(BlockQ3_K) == 110);

struct BlockQ4_K {     // 4.5 bits/weight        x[e] = d * sc[k] * n - dmin * mn[k]
  uint16_t d;          //  0
  uint16_t dmin;       //  2
  uint8_t scales[12];  //  4: eight 6-bit scales and eight 6-bit minima
  uint8_t qs[128];     // 16: n = (qs[32 (e / 64) + l] >> 4 (k & 1)) & 15
};
static_assert(sizeof(BlockQ4_K) == 144);

struct BlockQ5_K {     // 5.5 bits/weight        as Q4_K, n plus 16 when bit k of qh[l] is set
  uint16_t d;          //  0
  uint16_t dmin;       //  2
  uint8_t scales[12];  //  4
  uint8_t qh[32];      // 16
  uint8_t qs[128];     // 48
};
static_assert(sizeof(BlockQ5_K) == 176);

struct BlockQ6_K {     // 6.5625 bits/weight     x[e] = d * scales[e / 16] * ((lo | hi << 4) - 32)
  uint8_t ql[128];     //  0: lo = (ql[64h + 32 (j & 1) + l] >> 4 (j >> 1)) & 15
  uint8_t qh[64];      // 128: hi = (qh[32h + l] >> 2j) & 3
  int8_t scales[16];   // 192: signed
  uint16_t d;          // 208
};
static_assert(sizeof(BlockQ6_K) == 210);

struct BlockIQ4_XS {    // 4.25 bits/weight       x[e] = d * (ls[k] - 32) * kIQ4Values[n]
  uint16_t d;           //  0
  uint16_t scales_h;    //  2: high 2 bits of ls[k] at bit 2k
  uint8_t scales_l[4];  //  4: low 4 bits of ls[k], two in a byte
  uint8_t qs[128];      //  8: byte 16k + l % 16; low nibble for l < 16, high otherwise
};
static_assert(sizeof(BlockIQ4_XS) == 136);

inline constexpr int8_t kIQ4Values[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                          1,    13,   25,  38,  53,  69,  89,  113};
inline constexpr int8_t kFp4Doubled[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

}  // namespace olx::gguf
