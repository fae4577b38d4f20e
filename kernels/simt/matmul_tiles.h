#pragma once
// y = x W^T for many tokens: a block makes 64 rows of w for 64 tokens, 64 columns a step, from
// shared memory by products of tiles (tile.h). Two buffers: while the waves multiply one, what
// belongs into the other is on its way from memory. Sums of 32 columns, or of 16 where those have a
// scale of their own, are exact integers and scaled in f32.

#include "kernels/simt/matmul.h"
#include "kernels/simt/tile.h"

namespace olx::kernels::simt {

constexpr int kTilesThreads = 256;
constexpr int kTilesRows = 64, kTilesTokens = 64, kTilesGroups = 2;  // groups of 32 columns a step
constexpr int kTilesStride = 8 * kTilesGroups + 4;  // words; 16 rows meet every bank equally often

template <typename Type>
struct MatmulTiles {
  template <int kWave>
  static Grid grid(const MatmulArgs& args, RowRange range) {
    return {n_tiles(range.size(), kTilesRows) * n_tiles(args.y.n_rows, kTilesTokens),
            kTilesThreads};
  }

  // Blocks of the same rows follow each other, so that w is read from the cache for all but one.
  template <Simt S>
  static constexpr void run(S& s, const MatmulArgs& args, RowRange range) {
    constexpr int kSums = S::TileLayout::kSums, kWaves = kTilesThreads / S::kWave;
    constexpr int kRowTiles = kTilesRows / 16 / (kWaves / 2), kColTiles = kTilesTokens / 16 / 2;
    const int64_t n_token_tiles = n_tiles(args.y.n_rows, kTilesTokens);
    const Place place{range.from + s.block() / n_token_tiles * kTilesRows, range.to,
                      s.block() % n_token_tiles * kTilesTokens};
    const int first_row = s.wave() / 2 * kRowTiles * 16, first_col = s.wave() % 2 * kColTiles * 16;
    const int64_t n_groups = args.w.n_cols / 32;
    const auto n_tokens = static_cast<int>(smaller(args.y.n_rows - place.token, kTilesTokens));
    float y[kRowTiles][kColTiles][kSums] = {};

    Staged staged = fetch(s, args, place, 0);
    put(s, staged, 0);
    s.barrier();
    for (int64_t group = 0, buffer = 0; group < n_groups; group += kTilesGroups, buffer ^= 1) {
      const bool has_next = group + kTilesGroups < n_groups;
      if (has_next) staged = fetch(s, args, place, group + kTilesGroups);
      for (int g = 0; g < kTilesGroups; ++g) {
        if (group + g >= n_groups) continue;
        for (int r = 0; r < kRowTiles; ++r)
          if (place.row + first_row + 16 * r < range.to)  // the same for the whole wave
            add_products(s, static_cast<int>(buffer), g, first_row + 16 * r, first_col, n_tokens,
                         y[r]);
      }
      if (has_next) put(s, staged, static_cast<int>(buffer ^ 1));
      s.barrier();  // the one is written, the other read
    }
    for (int r = 0; r < kRowTiles; ++r)
      for (int c = 0; c < kColTiles; ++c)
        for (int i = 0; i < kSums; ++i) {
          const TilePlace at = S::TileLayout::sum(s.lane(), i);
          const int64_t row = place.row + first_row + 16 * r + at.row;
          const int64_t token = place.token + first_col + 16 * c + at.word;
          if (row < range.to && token < args.y.n_rows) write_y(args, row, token, y[r][c][i]);
        }
  }

 private:
  static constexpr int64_t n_tiles(int64_t n, int size) { return (n + size - 1) / size; }
  struct Place {
    int64_t row;
    int64_t row_end;
    int64_t token;
  };
  // Half of the threads bring 32 columns of a row of w, the others of a token.
  struct Staged {
    int32_t codes[8];
    float scales[4];  // of w: scale, minimum of both halves; of x: scale, sums of both halves
  };
  struct RowCodes;  // tags of shared memory
  struct TokenCodes;
  struct RowScales;
  struct TokenScales;
  static constexpr int kBufferWords = kTilesRows * kTilesStride;
  static constexpr int kBufferScales = kTilesRows * kTilesGroups;  // of one kind
  static_assert(kTilesRows == kTilesTokens && kTilesThreads == 2 * kTilesGroups * kTilesRows);

  template <Simt S>
  static constexpr auto row_codes(S& s) {
    return s.template shared<RowCodes, int32_t, 2 * kBufferWords>();
  }
  template <Simt S>
  static constexpr auto token_codes(S& s) {
    return s.template shared<TokenCodes, int32_t, 2 * kBufferWords>();
  }
  template <Simt S>
  static constexpr auto row_scales(S& s) {
    return s.template shared<RowScales, float, 2 * 4 * kBufferScales>();
  }
  template <Simt S>
  static constexpr auto token_scales(S& s) {
    return s.template shared<TokenScales, float, 2 * 4 * kBufferScales>();
  }
  static constexpr int scale_at(int buffer, int kind, int group, int row) {
    return ((buffer * 4 + kind) * kTilesGroups + group) * kTilesRows + row;
  }

  // Behind the last row, token or group the last one again: what comes of it is not used.
  template <Simt S>
  static constexpr Staged fetch(S& s, const MatmulArgs& args, const Place& place, int64_t group) {
    const int i = s.thread() % kTilesRows;
    group = smaller(group + s.thread() / kTilesRows % kTilesGroups, args.w.n_cols / 32 - 1);
    Staged staged{};
    if (s.thread() < kTilesThreads / 2) {
      const Codes w = load_group<Type, S>(
          static_cast<const uint8_t*>(args.w.data) +
              smaller(place.row + i, place.row_end - 1) * simt::row_bytes<Type>(args.w.n_cols),
          group);
      for (int j = 0; j < 8; ++j) staged.codes[j] = w.q[j];
      for (int j = 0; j < 2; ++j) {
        staged.scales[2 * j] = w.scale[j];
        staged.scales[2 * j + 1] = w.minimum[j];
      }
    } else {
      const auto x =
          CodesTimesQ8<Type>::load_inputs(args, smaller(place.token + i, args.y.n_rows - 1), group);
      for (int j = 0; j < 8; ++j) staged.codes[j] = static_cast<int32_t>(x.codes[j]);
      staged.scales[0] = x.scale;
      staged.scales[1] = x.sums[0];
      staged.scales[2] = x.sums[1];
    }
    return staged;
  }
  template <Simt S>
  static constexpr void put(S& s, const Staged& staged, int buffer) {
    const int i = s.thread() % kTilesRows, g = s.thread() / kTilesRows % kTilesGroups;
    const int at = buffer * kBufferWords + i * kTilesStride + 8 * g;
    const bool is_row = s.thread() < kTilesThreads / 2;
    const auto codes = is_row ? row_codes(s) : token_codes(s);
    const auto scales = is_row ? row_scales(s) : token_scales(s);
    for (int j = 0; j < 8; ++j) codes.store(at + j, staged.codes[j]);
    for (int j = 0; j < 4; ++j) scales.store(scale_at(buffer, j, g, i), staged.scales[j]);
  }

  // 16 rows of w for all tokens of the wave.
  template <Simt S, int kCols, int kSums>
  static constexpr void add_products(S& s, int buffer, int group, int row, int col, int n_tokens,
                                     float (&y)[kCols][kSums]) {
    using Layout = typename S::TileLayout;
    const int at = buffer * kBufferWords + 8 * group;
    const auto of_w = row_scales(s), of_x = token_scales(s);
    const auto rows = load_rows(s, row_codes(s), at + row * kTilesStride, kTilesStride);
    float w[kSums][4] = {};  // as Staged::scales, of the row of a sum
    for (int i = 0; i < kSums; ++i)
      for (int kind = 0; kind < 4; ++kind)
        if (needs_scale(kind))
          w[i][kind] = of_w.load(scale_at(buffer, kind, group, row + Layout::sum(s.lane(), i).row));
    for (int c = 0; c < kCols; ++c) {
      const int first = col + 16 * c;
      if (first >= n_tokens) continue;
      const auto cols = load_cols(s, token_codes(s), at + first * kTilesStride, kTilesStride);
      typename Tile<Layout>::Sums low{}, high{};
      if constexpr (Type::kHasScaleOf32) {
        s.multiply(rows, cols, low);
      } else {
        s.multiply_half(rows, cols, 0, low);
        s.multiply_half(rows, cols, 1, high);
      }
      for (int i = 0; i < kSums; ++i) {
        const int token = first + Layout::sum(s.lane(), i).word;
        const auto x = [&](int kind) { return of_x.load(scale_at(buffer, kind, group, token)); };
        float& sum = y[c][i];
        if constexpr (Type::kHasScaleOf32) {
          sum = S::fma(x(0) * w[i][0], static_cast<float>(low.word[i]), sum);
          if constexpr (Type::kHasMinimum) sum = S::fma(-w[i][1], x(1) + x(2), sum);
        } else {
          const float product = S::fma(w[i][0], static_cast<float>(low.word[i]),
                                       w[i][2] * static_cast<float>(high.word[i]));
          sum = S::fma(x(0), product, sum);
          if constexpr (Type::kHasMinimum) sum -= S::fma(w[i][1], x(1), w[i][3] * x(2));
        }
      }
    }
  }
  // Of a row of w: scale, minimum of the first half, then of the second.
  static constexpr bool needs_scale(int kind) {
    return (kind < 2 || !Type::kHasScaleOf32) && (kind % 2 == 0 || Type::kHasMinimum);
  }
};

// One entry point for any number of tokens: a plan chooses its kernels once, for the most tokens a
// step may have, and then makes single tokens with them.
constexpr int64_t kFewTokens = 2 * kTileTokens;

template <typename Type>
struct MatmulQ8 {
  using Few = Matmul<CodesTimesQ8<Type>>;
  using Many = MatmulTiles<Type>;
  template <int kWave>
  static Grid grid(const MatmulArgs& args, RowRange range) {
    return args.y.n_rows <= kFewTokens ? Few::template grid<kWave>(args, range)
                                       : Many::template grid<kWave>(args, range);
  }
  template <Simt S>
  static constexpr void run(S& s, const MatmulArgs& args, RowRange range) {
    if (args.y.n_rows <= kFewTokens)
      Few::run(s, args, range);
    else
      Many::run(s, args, range);
  }
};

}  // namespace olx::kernels::simt
