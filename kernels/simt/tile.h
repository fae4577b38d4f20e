#pragma once
// Where the lanes of a wave hold a product of tiles on each machine: 16 rows of w times 16 tokens
// over 32 columns of signed bytes, four to a word. A layout says, of what a lane holds,
//   kRowWords row_word(lane, i)    which word of which row
//   kColWords col_word(lane, i)    which word of which token
//   kSums     sum(lane, i)         which row and token an int32 sum belongs to
// The policies (simt.h) have one each; the kernels never see it.

#include "kernels/simt/simt.h"

namespace olx::kernels::simt {

struct TilePlace {
  int row;   // or token
  int word;  // of its 8; of a sum: the token
};

// mma.sync m16n8k32 (two of them) of NVIDIA: PTX ISA, "Matrix Fragments for mma.m16n8k32".
struct TileLayoutMma {
  static constexpr int kWave = 32, kRowWords = 4, kColWords = 4, kSums = 8;
  static constexpr TilePlace row_word(int lane, int i) {
    return {lane / 4 + 8 * (i % 2), lane % 4 + 4 * (i / 2)};
  }
  static constexpr TilePlace col_word(int lane, int i) {
    return {lane / 4 + 8 * (i / 2), lane % 4 + 4 * (i % 2)};
  }
  static constexpr TilePlace sum(int lane, int i) {
    return {lane / 4 + 8 * (i / 2 % 2), 8 * (i / 4) + 2 * (lane % 4) + i % 2};
  }
};

// v_mfma_i32_16x16x16i8 (two of them) of CDNA: AMD Instinct MI200 ISA, section 7.1.4.
struct TileLayoutMfma {
  static constexpr int kWave = 64, kRowWords = 2, kColWords = 2, kSums = 4;
  static constexpr TilePlace row_word(int lane, int i) { return {lane % 16, lane / 16 + 4 * i}; }
  static constexpr TilePlace col_word(int lane, int i) { return row_word(lane, i); }
  static constexpr TilePlace sum(int lane, int i) { return {4 * (lane / 16) + i, lane % 16}; }
};

// v_wmma_i32_16x16x16_iu8 (two of them) of RDNA3, whose half waves hold the same rows and columns:
// RDNA3 ISA, section 7.9.
struct TileLayoutWmma {
  static constexpr int kWave = 32, kRowWords = 8, kColWords = 8, kSums = 8;
  static constexpr TilePlace row_word(int lane, int i) { return {lane % 16, i}; }
  static constexpr TilePlace col_word(int lane, int i) { return row_word(lane, i); }
  static constexpr TilePlace sum(int lane, int i) { return {2 * i + lane / 16, lane % 16}; }
};

// Without an instruction: each lane has whole rows and two whole tokens, and multiplies by dot4.
template <int kWaveSize>
struct TileLayoutDot4 {
  static constexpr int kWave = kWaveSize, kRows = 128 / kWave, kRowWords = 8 * kRows,
                       kColWords = 16, kSums = 2 * kRows;
  static constexpr TilePlace row_word(int lane, int i) { return {lane / 8 * kRows + i / 8, i % 8}; }
  static constexpr TilePlace col_word(int lane, int i) { return {lane % 8 * 2 + i / 8, i % 8}; }
  static constexpr TilePlace sum(int lane, int i) {
    return {lane / 8 * kRows + i / 2, lane % 8 * 2 + i % 2};
  }
};

// What a lane holds.
template <int kN>
struct TileWords {
  int32_t word[kN];
};
template <typename Layout>
struct Tile {
  using Rows = TileWords<Layout::kRowWords>;
  using Cols = TileWords<Layout::kColWords>;
  using Sums = TileWords<Layout::kSums>;
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

}  // namespace olx::kernels::simt
