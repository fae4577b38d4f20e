#pragma once
// Numbers that are more than an f16, for products of tiles of f16 (multiply_f16): a sum of two of
// them, which keeps 22 bits, after a power of two has brought the largest number of a row to where
// f16 ends. A product of two such numbers is off by 3 * 2^-22 of their magnitudes at most, for
// which a contract of n 2^-23 has room from some eight columns on. And rows of the KV cache as
// that: f16 is what it is, F32 and Q8_0 become two terms.

#include <bit>
#include <type_traits>

#include "kernels/simt/kv_store.h"
#include "kernels/simt/tile.h"

namespace olx::kernels::simt {

// 2^n that brings `largest`, not negative, to [2^14, 2^15); below 2^-100 not as far.
constexpr float scale_to_f16(float largest) {
  const auto exponent = static_cast<int>(std::bit_cast<uint32_t>(largest) >> 23 & 255) - 127;
  return std::bit_cast<float>(static_cast<uint32_t>(127 + 14 - (exponent > -100 ? exponent : -100))
                              << 23);
}
// 1 / 2^n.
constexpr float inverse_power(float power) {
  return std::bit_cast<float>((254u << 23) - std::bit_cast<uint32_t>(power));
}

struct TwoTerms {
  uint32_t high;  // bits of an f16
  uint32_t low;
};
template <Simt S>
constexpr TwoTerms two_terms(float x) {
  const uint16_t high = S::to_f16(x);
  return {high, S::to_f16(x - S::from_f16(high))};
}
constexpr int32_t pair_of(uint32_t first, uint32_t second) {
  return static_cast<int32_t>(first | second << 16);
}
// All ones in each half of a word that is an f16 and not finite.
constexpr uint32_t not_finite(uint32_t pair) {
  return (((pair & 0x7c007c00u) + 0x04000400u) >> 15 & 0x00010001u) * 0xffffu;
}

// Some elements of a row, each the sum of kTerms: two to a word, the first one low.
template <int kTerms, int kN>
struct Terms {
  uint32_t word[kTerms][(kN + 1) / 2];
  constexpr uint32_t at(int term, int i) const {
    return word[term][i / 2] >> (16 * (i % 2)) & 0xffff;
  }
};

// kN elements of a cached row from `col` on, times a power of two: 1, 2 or 4, aligned alike.
template <typename Type>
struct CacheTerms {
  static constexpr int kTerms = 2;
  template <Simt S, int kN>
  static constexpr Terms<kTerms, kN> load(const uint8_t* row, int col, float scale) {
    Terms<kTerms, kN> terms{};
    const auto at = static_cast<uint32_t>(col);
    float step = scale;
    if constexpr (kIsQ8) step *= S::from_f16(block_of(row, at / 32).d);
    for (int i = 0; i < kN; ++i) {
      float x = 0;
      if constexpr (kIsQ8)
        x = static_cast<float>(block_of(row, at / 32).qs[at % 32 + i]);
      else
        x = Type::template load<S>(row, col + i);
      const TwoTerms both = two_terms<S>(x * step);
      terms.word[0][i / 2] |= both.high << (16 * (i % 2));
      terms.word[1][i / 2] |= both.low << (16 * (i % 2));
    }
    return terms;
  }
  // The largest of these is no less than the magnitude of any element that is finite.
  static constexpr int n_magnitudes(int head_dim) { return head_dim / (kIsQ8 ? 32 : 4); }
  template <Simt S>
  static constexpr float magnitude(const uint8_t* row, int i) {
    const auto finite = [](float x) { return x - x != 0.0f ? 0.0f : x < 0 ? -x : x; };
    if constexpr (kIsQ8) {
      return finite(128.0f * S::from_f16(block_of(row, i).d));
    } else {
      const auto four = load_as<Words<4>>(row + 16 * i);
      float most = 0;
      for (int j = 0; j < 4; ++j) most = larger(most, finite(std::bit_cast<float>(four.word[j])));
      return most;
    }
  }

 private:
  static constexpr bool kIsQ8 = std::is_same_v<Type, ValuesQ8_0>;
  static constexpr const gguf::BlockQ8_0& block_of(const uint8_t* row, int i) {
    return static_cast<const gguf::BlockQ8_0*>(static_cast<const void*>(row))[i];
  }
};
template <>
struct CacheTerms<ValuesF16> {
  static constexpr int kTerms = 1;
  template <Simt S, int kN>
  static constexpr Terms<kTerms, kN> load(const uint8_t* row, int col, float) {
    Terms<kTerms, kN> terms{};
    if constexpr (kN == 1) {
      terms.word[0][0] = load_as<uint16_t>(row + 2 * col);
    } else {
      const auto words = load_as<Words<kN / 2>>(row + 2 * col);
      for (int i = 0; i < kN / 2; ++i) terms.word[0][i] = words.word[i];
    }
    return terms;
  }
};

// Of what a lane holds of a tile's columns: the i'th run of four elements, which are words 2 f and
// 2 f + 1 in memory for f = first_of(lane, i), are word i of each of its columns, and the one
// kRuns behind it.
template <typename Layout>
struct LaneRuns {
  static constexpr int kWords = Layout::kColWords / Layout::kLaneCols, kRuns = kWords / 2;
  static constexpr int first_of(int lane, int i) {
    return kRuns == 1 ? Layout::col_word(lane, 0).word % 4 : i;
  }
  static constexpr int col_of(int lane, int c) { return Layout::col_word(lane, c * kWords).row; }
};

}  // namespace olx::kernels::simt
