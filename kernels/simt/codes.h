#pragma once
// Every block type of gguf/blocks.h as the same thing: 32 columns of a row as signed bytes q, with
// a scale and a minimum per 16 columns: x = scale q - minimum, in f32, bit for bit what
// gguf/quantize.h decodes. A type is a struct with
//   kBlockCols, kBlockBytes       of a block in the file
//   kHasScaleOf32, kHasMinimum    both halves of the 32 have the same scale; a minimum other than 0
//   load<S>(block, part)          columns [32 part, 32 part + 32) of it
// Used by embed and by the matmuls. A matrix begins at a multiple of kMatrixAlign, so the alignment
// of a field follows from the size of its block (kBlockAlign): 16 bytes at a time where it allows,
// else whole words and what is over at the end. Nothing outside the matrix is read.

#include <bit>
#include <cstddef>

#include "gguf/blocks.h"
#include "kernels/simt/simt.h"

namespace olx::kernels::simt {

struct Codes {
  int32_t q[8] = {};    // column 4 i + j is byte j of q[i]
  float scale[2] = {};  // of columns 0..15 and 16..31
  float minimum[2] = {};
};

constexpr uint32_t kEachByte = 0x01010101u;

constexpr uint64_t kMatrixAlign = 16;
inline bool is_matrix_aligned(const WeightView& matrix) {
  return std::bit_cast<uintptr_t>(matrix.data) % kMatrixAlign == 0;
}

template <typename T>
constexpr T load_as(const uint8_t* bytes) {
  return *static_cast<const T*>(static_cast<const void*>(bytes));
}
template <int kWords>
struct alignas(4 * kWords) Words {
  uint32_t word[kWords];
};

// 4 kN bytes from an address that is a multiple of kAlign. Where that is less than a word, the
// words around them, down to the one that holds the first byte, and the last bytes by themselves.
template <int kAlign, int kN>
constexpr void load_words(const uint8_t* bytes, uint32_t (&words)[kN]) {
  if constexpr (kAlign >= 4) {
    constexpr int kWords = kAlign / 4 < kN ? kAlign / 4 : kN;
    for (int i = 0; i < kN; i += kWords) {
      const auto loaded = load_as<Words<kWords>>(bytes + 4 * i);
      for (int j = 0; j < kWords; ++j) words[i + j] = loaded.word[j];
    }
  } else {
    const auto n_before = static_cast<int>(std::bit_cast<uintptr_t>(bytes) % 4);
    uint32_t loaded[kN + 1] = {};
    for (int i = 0; i < kN; ++i) loaded[i] = load_as<uint32_t>(bytes - n_before + 4 * i);
    const uint8_t* end = bytes + 4 * kN;
    if constexpr (kAlign == 2)
      loaded[kN] = load_as<uint16_t>(end - 2);
    else
      loaded[kN] =
          (end[-3] | static_cast<uint32_t>(end[-2]) << 8 | static_cast<uint32_t>(end[-1]) << 16) >>
          (8 * ((3 - n_before) & 3));
    for (int i = 0; i < kN; ++i)
      words[i] = static_cast<uint32_t>((static_cast<uint64_t>(loaded[i + 1]) << 32 | loaded[i]) >>
                                       (8 * n_before));
  }
}
// Each byte of v, all below 128, minus c (at most 128): no borrow crosses a byte.
constexpr int32_t minus(uint32_t v, uint32_t c) {
  constexpr uint32_t kHigh = 0x80808080u;
  return static_cast<int32_t>(((v | kHigh) - c * kEachByte) ^ kHigh);
}
// Bits 0..3 to bit 0 of the four bytes.
constexpr uint32_t spread4(uint32_t bits) { return ((bits & 15) * 0x00204081u) & kEachByte; }
// The codes of 16 bytes of nibbles: columns 0..15 are the low ones. offset is taken off each.
template <int kAlign>
constexpr void load_nibbles(const uint8_t* bytes, uint32_t offset, Codes& codes) {
  uint32_t words[4];
  load_words<kAlign>(bytes, words);
  for (int i = 0; i < 4; ++i) {
    codes.q[i] = minus(words[i] & (15 * kEachByte), offset);
    codes.q[4 + i] = minus((words[i] >> 4) & (15 * kEachByte), offset);
  }
}
// A table of 16 signed bytes as two words: a constant array would lie in memory that device code
// cannot name.
constexpr uint64_t half_of_table(const int8_t* values) {
  uint64_t word = 0;
  for (int i = 7; i >= 0; --i) word = word << 8 | static_cast<uint8_t>(values[i]);
  return word;
}
constexpr uint32_t look_up(uint64_t low, uint64_t high, uint32_t n) {
  return static_cast<uint32_t>((n < 8 ? low : high) >> (8 * (n & 7))) & 255;
}
constexpr int32_t look_up4(uint64_t low, uint64_t high, uint32_t nibbles) {
  uint32_t word = 0;
  for (int i = 0; i < 4; ++i) word |= look_up(low, high, (nibbles >> (8 * i)) & 15) << (8 * i);
  return static_cast<int32_t>(word);
}
template <int kAlign>
constexpr void load_nibbles(const uint8_t* bytes, uint64_t low, uint64_t high, Codes& codes) {
  uint32_t words[4];
  load_words<kAlign>(bytes, words);
  for (int i = 0; i < 4; ++i) {
    codes.q[i] = look_up4(low, high, words[i]);
    codes.q[4 + i] = look_up4(low, high, words[i] >> 4);
  }
}
constexpr void set_scale(Codes& codes, float scale, float minimum = 0.0f) {
  codes.scale[0] = codes.scale[1] = scale;
  codes.minimum[0] = codes.minimum[1] = minimum;
}

constexpr uint64_t kIq4Low = half_of_table(gguf::kIQ4Values),
                   kIq4High = half_of_table(gguf::kIQ4Values + 8);
constexpr uint64_t kFp4Low = half_of_table(gguf::kFp4Doubled),
                   kFp4High = half_of_table(gguf::kFp4Doubled + 8);

enum class ScaleOf { k16, k32 };  // columns that have one scale (and one minimum)

template <typename Block, int kCols, ScaleOf scale = ScaleOf::k32>
struct BlockType {
  static constexpr bool kHasScaleOf32 = scale == ScaleOf::k32;
  static constexpr bool kHasMinimum = requires(Block block) { block.m; }
  || requires(Block block) { block.dmin; };
  static constexpr int kBlockCols = kCols;
  static constexpr int kBlockBytes = sizeof(Block);
  // The largest power of two that divides kMatrixAlign and the size of a block.
  static constexpr int kBlockAlign = (kBlockBytes | static_cast<int>(kMatrixAlign)) &
                                     -(kBlockBytes | static_cast<int>(kMatrixAlign));
  // That of the field which begins at a byte of the block.
  static constexpr int align_at(int offset) {
    int align = kBlockAlign;
    while (offset % align != 0) align /= 2;
    return align;
  }
  static constexpr const Block& at(const uint8_t* bytes) {
    return *static_cast<const Block*>(static_cast<const void*>(bytes));
  }
};

struct CodesQ4_0 : BlockType<gguf::BlockQ4_0, 32> {
  template <Simt S>
  static constexpr Codes load(const uint8_t* bytes, int) {
    const gguf::BlockQ4_0& block = at(bytes);
    Codes codes;
    load_nibbles<align_at(offsetof(gguf::BlockQ4_0, qs))>(block.qs, 8u, codes);
    set_scale(codes, S::from_f16(block.d));
    return codes;
  }
};

struct CodesQ4_1 : BlockType<gguf::BlockQ4_1, 32> {
  template <Simt S>
  static constexpr Codes load(const uint8_t* bytes, int) {
    const gguf::BlockQ4_1& block = at(bytes);
    Codes codes;
    load_nibbles<align_at(offsetof(gguf::BlockQ4_1, qs))>(block.qs, 0u, codes);
    set_scale(codes, S::from_f16(block.d), -S::from_f16(block.m));
    return codes;
  }
};

// The fifth bits of 32 columns under four-bit codes.
constexpr void add_fifth_bits(uint32_t bits, uint32_t offset, Codes& codes) {
  for (int i = 0; i < 8; ++i)
    codes.q[i] = minus(static_cast<uint32_t>(codes.q[i]) | spread4(bits >> (4 * i)) << 4, offset);
}

struct CodesQ5_0 : BlockType<gguf::BlockQ5_0, 32> {
  template <Simt S>
  static constexpr Codes load(const uint8_t* bytes, int) {
    const gguf::BlockQ5_0& block = at(bytes);
    Codes codes;
    load_nibbles<align_at(offsetof(gguf::BlockQ5_0, qs))>(block.qs, 0u, codes);
    uint32_t fifth[1];
    load_words<align_at(offsetof(gguf::BlockQ5_0, qh))>(block.qh, fifth);
    add_fifth_bits(fifth[0], 16, codes);
    set_scale(codes, S::from_f16(block.d));
    return codes;
  }
};

struct CodesQ5_1 : BlockType<gguf::BlockQ5_1, 32> {
  template <Simt S>
  static constexpr Codes load(const uint8_t* bytes, int) {
    const gguf::BlockQ5_1& block = at(bytes);
    Codes codes;
    load_nibbles<align_at(offsetof(gguf::BlockQ5_1, qs))>(block.qs, 0u, codes);
    uint32_t fifth[1];
    load_words<align_at(offsetof(gguf::BlockQ5_1, qh))>(block.qh, fifth);
    add_fifth_bits(fifth[0], 0, codes);
    set_scale(codes, S::from_f16(block.d), -S::from_f16(block.m));
    return codes;
  }
};

struct CodesQ8_0 : BlockType<gguf::BlockQ8_0, 32> {
  template <Simt S>
  static constexpr Codes load(const uint8_t* bytes, int) {
    const gguf::BlockQ8_0& block = at(bytes);
    const auto* qs = static_cast<const uint8_t*>(static_cast<const void*>(block.qs));
    Codes codes;
    uint32_t words[8];
    load_words<align_at(offsetof(gguf::BlockQ8_0, qs))>(qs, words);
    for (int i = 0; i < 8; ++i) codes.q[i] = static_cast<int32_t>(words[i]);
    set_scale(codes, S::from_f16(block.d));
    return codes;
  }
};

struct CodesIQ4_NL : BlockType<gguf::BlockIQ4_NL, 32> {
  template <Simt S>
  static constexpr Codes load(const uint8_t* bytes, int) {
    const gguf::BlockIQ4_NL& block = at(bytes);
    Codes codes;
    load_nibbles<align_at(offsetof(gguf::BlockIQ4_NL, qs))>(block.qs, kIq4Low, kIq4High, codes);
    set_scale(codes, S::from_f16(block.d));
    return codes;
  }
};

struct CodesMXFP4 : BlockType<gguf::BlockMXFP4, 32> {
  template <Simt S>
  static constexpr Codes load(const uint8_t* bytes, int) {
    const gguf::BlockMXFP4& block = at(bytes);
    Codes codes;
    load_nibbles<align_at(offsetof(gguf::BlockMXFP4, qs))>(block.qs, kFp4Low, kFp4High, codes);
    // 2^(e - 128); e = 0 and 1 are subnormal.
    const uint32_t bits =
        block.e >= 2 ? static_cast<uint32_t>(block.e - 1) << 23 : 0x00200000u << block.e;
    set_scale(codes, std::bit_cast<float>(bits));
    return codes;
  }
};

// Two bits of 32 bytes, from bit `shift` of each.
template <int kAlign>
constexpr void load_pairs(const uint8_t* bytes, int shift, Codes& codes) {
  uint32_t words[8];
  load_words<kAlign>(bytes, words);
  for (int i = 0; i < 8; ++i)
    codes.q[i] = static_cast<int32_t>((words[i] >> shift) & (3 * kEachByte));
}

struct CodesQ2_K : BlockType<gguf::BlockQ2_K, 256, ScaleOf::k16> {
  template <Simt S>
  static constexpr Codes load(const uint8_t* bytes, int part) {
    const gguf::BlockQ2_K& block = at(bytes);
    Codes codes;
    load_pairs<align_at(offsetof(gguf::BlockQ2_K, qs))>(block.qs + part / 4 * 32, part % 4 * 2,
                                                        codes);
    const float d = S::from_f16(block.d), dmin = S::from_f16(block.dmin);
    for (int i = 0; i < 2; ++i) {
      const int packed = block.scales[2 * part + i];
      codes.scale[i] = d * static_cast<float>(packed & 15);
      codes.minimum[i] = dmin * static_cast<float>(packed >> 4);
    }
    return codes;
  }
};

struct CodesQ3_K : BlockType<gguf::BlockQ3_K, 256, ScaleOf::k16> {
  template <Simt S>
  static constexpr Codes load(const uint8_t* bytes, int part) {
    const gguf::BlockQ3_K& block = at(bytes);
    Codes codes;
    load_pairs<align_at(offsetof(gguf::BlockQ3_K, qs))>(block.qs + part / 4 * 32, part % 4 * 2,
                                                        codes);
    uint32_t masks[8];
    load_words<align_at(offsetof(gguf::BlockQ3_K, hmask))>(block.hmask, masks);
    for (int i = 0; i < 8; ++i) {
      const uint32_t high = (masks[i] >> part) & kEachByte;
      codes.q[i] = minus(static_cast<uint32_t>(codes.q[i]) | high << 2, 4);
    }
    const float d = S::from_f16(block.d);
    for (int i = 0; i < 2; ++i) {
      const int k = 2 * part + i;
      const int low = block.scales[k % 8] >> (4 * (k / 8)) & 15;
      const int high = (block.scales[8 + k % 4] >> (2 * (k / 4))) & 3;
      codes.scale[i] = d * static_cast<float>((low | high << 4) - 32);
    }
    return codes;
  }
};

// The 6-bit scale and minimum j of Q4_K and Q5_K, out of the three words that hold them. By masks: where lanes have other parts
// of a block, both sides of a branch are run.
constexpr void six_bit_pair(uint32_t u0, uint32_t u1, uint32_t u2, int j, uint32_t& scale,
                            uint32_t& minimum) {
  const int shift = j % 4 * 8;
  const uint32_t b0 = u0 >> shift, b1 = u1 >> shift, b2 = u2 >> shift;
  const uint32_t is_late = 0u - static_cast<uint32_t>(j / 4);  // all bits or none
  scale = (b0 & 63 & ~is_late) | (((b2 & 15) | (b0 & 0xc0) >> 2) & is_late);
  minimum = (b1 & 63 & ~is_late) | (((b2 & 0xf0) >> 4 | (b1 & 0xc0) >> 2) & is_late);
}

template <typename Block>
struct CodesOfSixBitScales : BlockType<Block, 256> {
  template <Simt S>
  static constexpr Codes load(const uint8_t* bytes, int part) {
    const Block& block = CodesOfSixBitScales::at(bytes);
    using Self = CodesOfSixBitScales;
    static_assert(Self::kBlockAlign == 16 && offsetof(Block, scales) == 4);
    uint32_t head[4], words[8];  // head: d, dmin, scales
    load_words<16>(bytes, head);
    load_words<Self::align_at(offsetof(Block, qs))>(block.qs + part / 2 * 32, words);
    for (int i = 0; i < 8; ++i) words[i] = (words[i] >> (part % 2 * 4)) & (15 * kEachByte);
    if constexpr (requires { block.qh; }) {
      uint32_t fifth[8];
      load_words<Self::align_at(offsetof(Block, qh))>(block.qh, fifth);
      for (int i = 0; i < 8; ++i) words[i] |= ((fifth[i] >> part) & kEachByte) << 4;
    }
    Codes codes;
    for (int i = 0; i < 8; ++i) codes.q[i] = static_cast<int32_t>(words[i]);
    uint32_t scale = 0, minimum = 0;
    six_bit_pair(head[1], head[2], head[3], part, scale, minimum);
    set_scale(codes, S::from_f16(static_cast<uint16_t>(head[0])) * static_cast<float>(scale),
              S::from_f16(static_cast<uint16_t>(head[0] >> 16)) * static_cast<float>(minimum));
    return codes;
  }
};
using CodesQ4_K = CodesOfSixBitScales<gguf::BlockQ4_K>;
using CodesQ5_K = CodesOfSixBitScales<gguf::BlockQ5_K>;

struct CodesQ6_K : BlockType<gguf::BlockQ6_K, 256, ScaleOf::k16> {
  template <Simt S>
  static constexpr Codes load(const uint8_t* bytes, int part) {
    const gguf::BlockQ6_K& block = at(bytes);
    const int half = part / 4, j = part % 4;
    Codes codes;
    uint32_t lows[8], highs[8];
    load_words<align_at(offsetof(gguf::BlockQ6_K, ql))>(block.ql + 64 * half + 32 * (j & 1), lows);
    load_words<align_at(offsetof(gguf::BlockQ6_K, qh))>(block.qh + 32 * half, highs);
    for (int i = 0; i < 8; ++i) {
      const uint32_t low = (lows[i] >> (j / 2 * 4)) & (15 * kEachByte);
      const uint32_t high = (highs[i] >> (2 * j)) & (3 * kEachByte);
      codes.q[i] = minus(low | high << 4, 32);
    }
    const float d = S::from_f16(block.d);
    for (int i = 0; i < 2; ++i) codes.scale[i] = d * static_cast<float>(block.scales[2 * part + i]);
    return codes;
  }
};

struct CodesIQ4_XS : BlockType<gguf::BlockIQ4_XS, 256> {
  template <Simt S>
  static constexpr Codes load(const uint8_t* bytes, int part) {
    const gguf::BlockIQ4_XS& block = at(bytes);
    Codes codes;
    load_nibbles<align_at(offsetof(gguf::BlockIQ4_XS, qs))>(block.qs + 16 * part, kIq4Low, kIq4High,
                                                            codes);
    const int scale = ((block.scales_l[part / 2] >> (part % 2 * 4)) & 15) |
                      ((block.scales_h >> (2 * part)) & 3) << 4;
    set_scale(codes, S::from_f16(block.d) * static_cast<float>(scale - 32));
    return codes;
  }
};

// Types without blocks: a value a column.
struct ValuesF32 {
  static constexpr int kBytes = 4;
  template <Simt S>
  static constexpr float load(const void* row, int64_t col) {
    return static_cast<const float*>(row)[col];
  }
};
struct ValuesF16 {
  static constexpr int kBytes = 2;
  template <Simt S>
  static constexpr float load(const void* row, int64_t col) {
    return S::from_f16(static_cast<const uint16_t*>(row)[col]);
  }
};
struct ValuesBF16 {
  static constexpr int kBytes = 2;
  template <Simt S>
  static constexpr float load(const void* row, int64_t col) {
    return std::bit_cast<float>(static_cast<uint32_t>(static_cast<const uint16_t*>(row)[col])
                                << 16);
  }
};

// The 32 columns [32 group, 32 group + 32) of a row of such blocks.
template <typename Type, Simt S>
constexpr Codes load_group(const uint8_t* row, int64_t group) {
  constexpr int kParts = Type::kBlockCols / 32;
  return Type::template load<S>(row + group / kParts * Type::kBlockBytes,
                                static_cast<int>(group % kParts));
}

template <typename Type>
constexpr int64_t row_bytes(int64_t n_cols) {
  return n_cols / Type::kBlockCols * Type::kBlockBytes;
}

// One of the 32.
constexpr float decoded(const Codes& codes, int col) {
  const auto code = static_cast<int8_t>(codes.q[col / 4] >> (col % 4 * 8));
  return codes.scale[col / 16] * static_cast<float>(code) - codes.minimum[col / 16];
}

}  // namespace olx::kernels::simt
