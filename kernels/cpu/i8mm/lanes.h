#pragma once
// Lanes of NEON with i8mm: what cpu/panel_formats.h, panel_dot.h and panel_block.h are written in. A few tokens take the dot
// products of NEON; many are multiplied two at a time with two rows.

#include "kernels/cpu/neon/neon_lanes.h"

namespace olx::kernels::cpu {
namespace {

template <typename Format, int kTokens>
class PairTile;

struct Lanes : NeonLanes {
  static constexpr int kFewTokens = 4;  // from 5 on a pair of rows and tokens costs less than the unpacking in memory
  template <typename Format, int kTokens>
  using Tile = PairTile<Format, kTokens>;
};

// What panel_block.h asks of a tile. smmla multiplies a matrix of two rows and eight columns with one of eight columns and two
// tokens: two groups of four columns are taken together, in weights when they are unpacked, in activations as they come.
template <typename Format, int kTokens>
class PairTile {
 public:
  static constexpr int kGroups = 2;

  // Groups g and g + 1 of four rows -> rows 0 and 1 of both, rows 2 and 3 of both.
  static void arrange(Lanes::Bytes& a, Lanes::Bytes& b) {
    const int32x4_t x = vreinterpretq_s32_s8(a), y = vreinterpretq_s32_s8(b);
    a = vreinterpretq_s8_s32(vzip1q_s32(x, y));
    b = vreinterpretq_s8_s32(vzip2q_s32(x, y));
  }

  template <int kPanels>
  void add(int g, const Lanes::Bytes (*codes)[kPanels], const uint8_t* dwords, int64_t stride) {
    int8x16_t tokens[2];
    load_pairs(dwords, dwords + 4 * stride, tokens);
#pragma GCC unroll 2
    for (int pair = 0; pair < kPairs; ++pair)
#pragma GCC unroll 2
      for (int p = 0; p < kPanels; ++p)
#pragma GCC unroll 2
        for (int rows = 0; rows < 2; ++rows) {
          int32x4_t& sums = sums_[pair][p][rows];
          sums = vmmlaq_s32(g == 0 ? vdupq_n_s32(0) : sums, codes[rows][p], tokens[pair]);
        }
  }

  // Of four rows: a pair's sums are those of row 0 with both tokens, then those of row 1.
  Lanes::Ints ints(int n, int p) const {
    const int32x4_t(&sums)[2] = sums_[n / 2][p];
    return n % 2 == 0 ? vuzp1q_s32(sums[0], sums[1]) : vuzp2q_s32(sums[0], sums[1]);
  }

 private:
  static constexpr int kPairs = (kTokens + 1) / 2;
  static_assert(kTokens <= 4);

  // Tokens of two groups, pair by pair; a last one that is alone is its own partner.
  static void load_pairs(const uint8_t* first, const uint8_t* second, int8x16_t (&pairs)[2]) {
    const int32x4_t x = load_tokens(first), y = load_tokens(second);
    pairs[0] = vreinterpretq_s8_s32(vzip1q_s32(x, y));
    pairs[1] = vreinterpretq_s8_s32(vzip2q_s32(x, y));
  }
  static int32x4_t load_tokens(const uint8_t* dwords) {
    const auto* p = reinterpret_cast<const int32_t*>(dwords);
    if constexpr (kTokens == 4) return vld1q_s32(p);
    if constexpr (kTokens == 3) return vcombine_s32(vld1_s32(p), vld1_dup_s32(p + 2));
    if constexpr (kTokens == 2) return vcombine_s32(vld1_s32(p), vdup_n_s32(0));
    if constexpr (kTokens == 1) return vld1q_dup_s32(p);
  }

  int32x4_t sums_[kPairs][2][2];
};

}  // namespace
}  // namespace olx::kernels::cpu

#include "kernels/cpu/dot_products.h"
