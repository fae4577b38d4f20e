#pragma once
// Where the lanes of a wave hold a product of tiles on each machine: 16 rows times 16 tokens over
// eight words of each: 32 columns of signed bytes, or 16 of f16. A layout says of what a lane holds
//   kRowWords row_word(lane, i)    which word of which row
//   kColWords col_word(lane, i)    which word of which token
//   kSums     sum(lane, i)         which row and token a sum (int32, f32) belongs to
//   kLaneCols                      of how many tokens it has words: of the first, then of the next
//   neighbour(token)               its place in an order in which the tokens of a lane are in a row
// The policies (simt.h) have one each.
//
// The sum does not ask which word of both operands is which, as long as they agree. Words of f16
// stand at word_slot(), so that two of a token in one lane follow each other in memory.

#include "kernels/simt/simt.h"

namespace olx::kernels::simt {

struct TilePlace {
  int row;   // or token
  int word;  // of its 8; of a sum: the token
};

// Where in its eight words the word'th in memory stands.
constexpr int word_slot(int word) { return word / 2 + 4 * (word % 2); }

// mma.sync m16n8k32 of s8 and m16n8k16 of f16 (two of them) of NVIDIA: PTX ISA, "Matrix Fragments
// for mma.m16n8k32", ".m16n8k16".
struct TileLayoutMma {
  static constexpr int kWave = 32, kRowWords = 4, kColWords = 4, kSums = 8, kLaneCols = 2;
  static constexpr TilePlace row_word(int lane, int i) {
    return {lane / 4 + 8 * (i % 2), lane % 4 + 4 * (i / 2)};
  }
  static constexpr TilePlace col_word(int lane, int i) {
    return {lane / 4 + 8 * (i / 2), lane % 4 + 4 * (i % 2)};
  }
  static constexpr TilePlace sum(int lane, int i) {
    return {lane / 4 + 8 * (i / 2 % 2), 8 * (i / 4) + 2 * (lane % 4) + i % 2};
  }
  static constexpr int neighbour(int token) { return token % 8 * 2 + token / 8; }
};

// v_mfma_i32_16x16x16i8 (two of them) and v_mfma_f32_16x16x16f16 of CDNA: AMD Instinct MI200 ISA,
// section 7.1.4.
struct TileLayoutMfma {
  static constexpr int kWave = 64, kRowWords = 2, kColWords = 2, kSums = 4, kLaneCols = 1;
  static constexpr TilePlace row_word(int lane, int i) { return {lane % 16, lane / 16 + 4 * i}; }
  static constexpr TilePlace col_word(int lane, int i) { return row_word(lane, i); }
  static constexpr TilePlace sum(int lane, int i) { return {4 * (lane / 16) + i, lane % 16}; }
  static constexpr int neighbour(int token) { return token; }
};

// v_wmma_i32_16x16x16_iu8 (two of them) and v_wmma_f32_16x16x16_f16 of RDNA3, whose half waves hold
// the same rows and columns: RDNA3 ISA, section 7.9.
struct TileLayoutWmma {
  static constexpr int kWave = 32, kRowWords = 8, kColWords = 8, kSums = 8, kLaneCols = 1;
  static constexpr TilePlace row_word(int lane, int i) { return {lane % 16, i}; }
  static constexpr TilePlace col_word(int lane, int i) { return row_word(lane, i); }
  static constexpr TilePlace sum(int lane, int i) { return {2 * i + lane / 16, lane % 16}; }
  static constexpr int neighbour(int token) { return token; }
};

// Without an instruction: each lane has whole rows and two whole tokens, and multiplies by dot4 or
// fma.
template <int kWaveSize>
struct TileLayoutDot4 {
  static constexpr int kWave = kWaveSize, kRows = 128 / kWave, kRowWords = 8 * kRows,
                       kColWords = 16, kSums = 2 * kRows, kLaneCols = 2;
  static constexpr TilePlace row_word(int lane, int i) { return {lane / 8 * kRows + i / 8, i % 8}; }
  static constexpr TilePlace col_word(int lane, int i) { return {lane % 8 * 2 + i / 8, i % 8}; }
  static constexpr TilePlace sum(int lane, int i) {
    return {lane / 8 * kRows + i / 2, lane % 8 * 2 + i % 2};
  }
  static constexpr int neighbour(int token) { return token; }
};

// What a lane holds.
template <int kN>
struct TileWords {
  int32_t word[kN];
};
template <int kN>
struct TileFloats {
  float value[kN];
};
template <typename Layout>
struct Tile {
  using Rows = TileWords<Layout::kRowWords>;
  using Cols = TileWords<Layout::kColWords>;
  using Sums = TileWords<Layout::kSums>;
  using Floats = TileFloats<Layout::kSums>;  // sums of products of f16
};

// What a lane holds of rows [0, 16) of 8 words each, the first at `offset` of shared memory, `stride` words apart.
template <int kN, typename Shared, typename Place>
constexpr TileWords<kN> load_words(const Shared& shared, int64_t offset, int stride, Place place_of) {
  TileWords<kN> words{};
  for (int i = 0; i < kN; ++i) {
    const TilePlace place = place_of(i);
    words.word[i] = shared.load(offset + place.row * stride + place.word);
  }
  return words;
}
template <Simt S, typename Shared>
constexpr auto load_rows(S& s, const Shared& shared, int64_t offset, int stride) {
  using Layout = typename S::TileLayout;
  return load_words<Layout::kRowWords>(shared, offset, stride, [&](int i) { return Layout::row_word(s.lane(), i); });
}
template <Simt S, typename Shared>
constexpr auto load_cols(S& s, const Shared& shared, int64_t offset, int stride) {
  using Layout = typename S::TileLayout;
  return load_words<Layout::kColWords>(shared, offset, stride, [&](int i) { return Layout::col_word(s.lane(), i); });
}

// multiply() of a policy whose layout is TileLayoutDot4.
template <Simt S>
constexpr void multiply_by_dot4(const typename Tile<typename S::TileLayout>::Rows& rows,
                                const typename Tile<typename S::TileLayout>::Cols& cols,
                                int first_word, int n_words,
                                typename Tile<typename S::TileLayout>::Sums& sums) {
  for (int i = 0; i < S::TileLayout::kSums; ++i)
    for (int j = 0; j < 8; ++j)
      if (j >= first_word && j < first_word + n_words)
        sums.word[i] = S::dot4(rows.word[i / 2 * 8 + j], cols.word[i % 2 * 8 + j], sums.word[i]);
}

// multiply_f16() of such a policy.
template <Simt S>
constexpr void multiply_by_fma(const typename Tile<typename S::TileLayout>::Rows& rows,
                               const typename Tile<typename S::TileLayout>::Cols& cols,
                               typename Tile<typename S::TileLayout>::Floats& sums) {
  for (int i = 0; i < S::TileLayout::kSums; ++i)
    for (int j = 0; j < 16; ++j) {
      const auto at = [&](int32_t word) {
        return S::from_f16(static_cast<uint16_t>(static_cast<uint32_t>(word) >> (16 * (j % 2))));
      };
      sums.value[i] =
          S::fma(at(rows.word[i / 2 * 8 + j / 2]), at(cols.word[i % 2 * 8 + j / 2]), sums.value[i]);
    }
}

}  // namespace olx::kernels::simt
