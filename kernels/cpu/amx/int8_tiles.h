#pragma once
// The integer matmul of panels (panel.h) on AMX tiles of int8, for tokens that are made one at a time: a draft, or what many
// clients generate. A tile product multiplies up to 16 columns, a column being a term of a token, with the 16 rows of a panel over
// the columns that share a scale, where the dot products of panel_dot.h take an instruction for 4 of these. What is left of
// the arithmetic is the scaling. Granite Rapids, two threads, 11264 x 2048 weights from memory, in ms (dot products in brackets), which
// take 0.44, 0.74 and 0.62 to read once: 16 tokens Q4_K 0.86 (1.26), Q8_0 1.05 (1.78), Q6_K 1.22 (2.00). A product and its
// storing take 8 ns for 4 columns as for 16, which is why few are left to dot products.
//
// Integer sums are exact and scaled by the same function in the same order as there: the bits of a token do not depend on
// which of the two has computed it. Internal linkage.
//
// A piece is a chunk of a panel. Its sub-blocks are unpacked some time before they are multiplied, and scaled some time after: a tile
// that is loaded from stores still on their way to the cache waits for them, and so does what loads from a tile's.

#include "kernels/cpu/amx/tiles.h"
#include "kernels/cpu/avx512/lanes.h"
#include "kernels/cpu/panel_dot.h"

namespace olx::kernels::cpu {
namespace {

constexpr int kColumns = 16;          // of a block of tokens, at most
constexpr int kColumnStep = 4;        // they are filled up to a multiple of it
constexpr int64_t kRunCols = 4096;    // whose activations are at hand, in the second cache level
constexpr int64_t kBlockPanels = 16;  // whose weights stay there while further tokens pass
constexpr int64_t kPanelsAtOnce = 4;  // that come from memory
constexpr int kPieceSubs = static_cast<int>(kChunkCols / kQ8BlockCols);

// A format with its codes around zero, as int8.
template <typename Format>
struct Int8Format : Format {
  static constexpr int kOffset = 0;
  static __m512i codes(const uint8_t* q, int sub, int g) {
    const __m512i stored = Format::codes(q, sub, g);
    return Format::kOffset == 0 ? stored : _mm512_sub_epi8(stored, _mm512_set1_epi8(static_cast<char>(Format::kOffset)));
  }
};

// Of a block of 32 columns, for every column of tokens; zero past the last.
struct alignas(64) BlockScales {
  float d[kColumns];
  int32_t lo[kColumns];
  int32_t hi[kColumns];
  float all[kColumns];
  Q8Scales view() const { return {d, lo, hi, all}; }
};

struct Int8Workspace {
  alignas(64) int8_t x[kRunCols / kQ8BlockCols][kColumns][kQ8BlockCols];
  BlockScales scales[kRunCols / kQ8BlockCols];
  alignas(64) uint8_t codes[kPieceSubs][8][64];  // [sub-block][unit]
  alignas(64) int32_t dots[2 * kPieceSubs][kColumns][kRows];  // of sub-blocks, or of halves where scales are per 16
  alignas(64) float sums[kBlockPanels][kColumns][kRows];
};

// A tile of sums holds columns x rows; one of activations columns x the 32 (or 16) that share a scale; one of weights a unit in each row.
inline TileConfig int8_config(int n_columns, int n_halves) {
  TileConfig config;
  for (int i = 0; i < 8; ++i) {
    const bool is_weights = i >= 6;
    config.n_rows[i] = static_cast<uint8_t>(is_weights ? 8 / n_halves : n_columns);
    config.row_bytes[i] = static_cast<uint16_t>(i < 4 || is_weights ? 64 : kQ8BlockCols / n_halves);
  }
  return config;
}

// n_blocks blocks of the n tokens of a group, which begin at `group`, to columns from `first` on.
inline void take_group(const uint8_t* group, int64_t n, int64_t n_blocks, int first, Int8Workspace& work) {
  const auto dwords_of = [n](int64_t i) {
    const int64_t left = 8 * n - 16 * i;
    return left >= 16 ? __mmask16{0xffff} : left <= 0 ? __mmask16{0} : static_cast<__mmask16>((1u << left) - 1);
  };
  const __mmask16 masks[4] = {dwords_of(0), dwords_of(1), dwords_of(2), dwords_of(3)};
  const __mmask16 of_tokens = static_cast<__mmask16>((1u << n) - 1);
  // Dword g of tokens 2 i and 2 i + 1 is dword g n + token of the block.
  const __m512i g = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7);
  const __m512i second = _mm512_setr_epi32(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1);
  const __m512i start = _mm512_add_epi32(_mm512_mullo_epi32(g, _mm512_set1_epi32(static_cast<int>(n))), second);
  for (int64_t b = 0; b < n_blocks; ++b, group += kQ8BytesPerTokenBlock * n) {
    __m512i z[4];
    for (int i = 0; i < 4; ++i) z[i] = _mm512_maskz_loadu_epi32(masks[i], group + 64 * i);
    for (int64_t token = 0; token < n; token += 2) {
      const __m512i index = _mm512_add_epi32(start, _mm512_set1_epi32(static_cast<int>(token)));
      const __mmask16 is_upper = _mm512_test_epi32_mask(index, _mm512_set1_epi32(32));
      const __m512i lower = _mm512_permutex2var_epi32(z[0], index, z[1]), upper = _mm512_permutex2var_epi32(z[2], index, z[3]);
      const __m512i both = _mm512_mask_mov_epi32(lower, is_upper, upper);
      const __mmask16 there = n - token > 1 ? 0xffff : 0x00ff;
      _mm512_mask_storeu_epi32(work.x[b][first + token], there, both);
    }
    const Q8Scales from = q8_scales(group, n, 0);
    BlockScales& to = work.scales[b];
    _mm512_mask_storeu_ps(to.d + first, of_tokens, _mm512_maskz_loadu_ps(of_tokens, from.d));
    _mm512_mask_storeu_epi32(to.lo + first, of_tokens, _mm512_maskz_loadu_epi32(of_tokens, from.lo));
    _mm512_mask_storeu_epi32(to.hi + first, of_tokens, _mm512_maskz_loadu_epi32(of_tokens, from.hi));
    _mm512_mask_storeu_ps(to.all + first, of_tokens, _mm512_maskz_loadu_ps(of_tokens, from.all));
  }
}

// Tokens [token, token + n_tokens) over n_blocks blocks from first_block on: term by term, and zeros behind.
template <int kTerms>
inline void take_tokens(const MatmulArgs& args, int64_t token, int64_t n_tokens, int64_t first_block, int64_t n_blocks, int n_columns,
                        Int8Workspace& work) {
  int column = 0;
  for (int term = 0; term < kTerms; ++term) {
    const uint8_t* matrix = static_cast<const uint8_t*>(args.x.data) + term * q8_matrix_bytes(args.x.n_tokens, args.x.n_cols);
    for (int64_t done = 0; done < n_tokens;) {
      const int64_t group = (token + done) / kQ8GroupTokens, n = q8_group_size(group, args.x.n_tokens);
      take_group(matrix + q8_group_offset(group, args.x.n_cols) + first_block * kQ8BytesPerTokenBlock * n, n, n_blocks, column, work);
      done += n;
      column += static_cast<int>(n);
    }
  }
  if (column == n_columns) return;
  const __mmask16 behind = static_cast<__mmask16>(0xffffu << column);
  for (int64_t b = 0; b < n_blocks; ++b) {
    for (int c = column; c < n_columns; ++c) _mm256_store_si256(reinterpret_cast<__m256i*>(work.x[b][c]), _mm256_setzero_si256());
    BlockScales& to = work.scales[b];
    for (void* plane : {static_cast<void*>(to.d), static_cast<void*>(to.lo), static_cast<void*>(to.hi), static_cast<void*>(to.all)})
      _mm512_mask_storeu_epi32(plane, behind, _mm512_setzero_si512());
  }
}

// Where a piece lies. One of no columns is nothing.
struct Piece {
  const uint8_t* chunk = nullptr;
  const uint8_t* ahead = nullptr;  // what is a chunk further in the panel,
  int64_t ahead_bytes = 0;         // so much of it in this run: then comes the run of the panel in the same place of the next ones,
  int64_t jump_bytes = 0;          // so far on
  int64_t n_cols = 0;
  int64_t block = 0;  // its first, of the run
  int64_t panel = 0;
};

// The pieces of n_panels panels over a run of columns: a chunk of kPanelsAtOnce panels, then the next chunk of these.
class PieceOrder {
 public:
  PieceOrder(PanelShape shape, const uint8_t* first, int64_t n_panels, int64_t panel_bytes, int64_t run_cols)
      : panel_bytes_(panel_bytes),
        chunk_bytes_(chunk_size_bytes(shape, kChunkCols, kRows)),
        run_bytes_(panel_size_bytes(shape, run_cols, kRows)),
        n_panels_(n_panels), run_cols_(run_cols), group_(first) {}
  int64_t count() const { return n_panels_ * ((run_cols_ + kChunkCols - 1) / kChunkCols); }
  Piece next() {
    const int64_t n_at_once = n_panels_ - panel_ < kPanelsAtOnce ? n_panels_ - panel_ : kPanelsAtOnce;
    const bool is_last = run_cols_ - col_ <= kChunkCols;
    Piece piece{.n_cols = is_last ? run_cols_ - col_ : kChunkCols, .block = col_ / kQ8BlockCols, .panel = panel_ + in_group_};
    const int64_t offset = col_ / kChunkCols * chunk_bytes_;
    piece.chunk = group_ + in_group_ * panel_bytes_ + offset;
    piece.ahead = piece.chunk + chunk_bytes_;
    piece.ahead_bytes = run_bytes_ - offset - chunk_bytes_;
    piece.jump_bytes = n_at_once * panel_bytes_ - run_bytes_;
    if (++in_group_ < n_at_once) return piece;
    in_group_ = 0;
    col_ += kChunkCols;
    if (!is_last) return piece;
    col_ = 0;
    panel_ += n_at_once;
    group_ += n_at_once * panel_bytes_;
    return piece;
  }

 private:
  int64_t panel_bytes_, chunk_bytes_, run_bytes_, n_panels_, run_cols_;
  const uint8_t* group_;  // where the run begins in its first panel
  int64_t panel_ = 0, col_ = 0, in_group_ = 0;
};

// What is done with sub-block s of a piece, which is sub-block `sub` of a block of its format.
template <typename Format, int kCount>
struct Stages {
  static constexpr PanelShape kShape = panel_shape(Format::kDType);
  static constexpr int kHalves = kHalvesOf<Format>;

  Int8Workspace& work;
  const uint8_t* codes = nullptr;   // of the block of the piece that is unpacked
  const uint8_t* scales = nullptr;  // of the block of the one that is scaled
  Floats y[kCount] = {};            // its sums

  __attribute__((always_inline)) void unpack(int s, int sub) {
#pragma GCC unroll 8
    for (int g = 0; g < 8; ++g) _mm512_store_si512(work.codes[s][g], Int8Format<Format>::codes(codes, sub, g));
  }
  // Tiles 0 and 1: sums, 4 and 5: activations, 6 and 7: weights.
  __attribute__((always_inline)) void multiply(int s, int64_t block) {
    const auto& x = work.x[block];
    auto* dots = work.dots + s * kHalves;
    if (kHalves == 2 || s % 2 == 0) {
      _tile_zero(0);
      _tile_loadd(4, x, kQ8BlockCols);
      _tile_loadd(6, work.codes[s], 64);
      _tile_dpbssd(0, 4, 6);
    }
    if (kHalves == 2 || s % 2 == 1) {
      constexpr int kSecond = kHalves - 1;
      _tile_zero(1);
      _tile_loadd(5, &x[0][16 * kSecond], kQ8BlockCols);
      _tile_loadd(7, &work.codes[s][4 * kSecond], 64);
      _tile_dpbssd(1, 5, 7);
    }
    if (kHalves == 2 || s % 2 == 0) _tile_stored(0, dots[0], 64);
    if (kHalves == 2 || s % 2 == 1) _tile_stored(1, dots[kHalves - 1], 64);
  }
  __attribute__((always_inline)) void scale(int s, int sub, int64_t block) {
    const Q8Scales x = work.scales[block].view();
#pragma GCC unroll 2
    for (int half = 0; half < kHalves; ++half) {
      Floats w, m;
      Format::scales(scales, sub, half, w, m);
#pragma GCC unroll 16
      for (int n = 0; n < kCount; ++n)
        y[n] = add_scaled<Int8Format<Format>>(y[n], w, m, _mm512_load_si512(work.dots[s * kHalves + half][n]), x, n, half);
    }
  }
};

// Panels at once that would not leave room in the first cache level are fetched to the second.
template <typename Format>
constexpr bool kIsLarge = chunk_size_bytes(panel_shape(Format::kDType), kChunkCols, kRows) > 3072;

// With fewer columns the dot products are as fast or faster: measured, as the panels at once.
template <typename Format>
constexpr int kFewestColumns = kIsLarge<Format> && !Format::kIsPer16 ? 3 : 7;

// What is fetched with each sub-block of a piece.
template <typename Format>
constexpr int64_t kShareBytes = (chunk_size_bytes(panel_shape(Format::kDType), kChunkCols, kRows) / 64 + kPieceSubs - 1) / kPieceSubs * 64;

// In the order of the program: see fetch_now. Past a matrix it is a hint about nothing.
template <typename Format>
inline __attribute__((always_inline)) void fetch_share(const Piece& piece, int s) {
  const int64_t offset = s * kShareBytes<Format>;
  const uint8_t* next = piece.ahead + offset + (offset < piece.ahead_bytes ? 0 : piece.jump_bytes);
#pragma GCC unroll 32
  for (int64_t i = 0; i < kShareBytes<Format> / 64; ++i)
    if constexpr (kIsLarge<Format>)
      fetch_to_second_level(next + 64 * i);
    else
      fetch_now(next + 64 * i);
}

// Adds a run's products to the sums of its panels. Sub-block s of a piece is unpacked, kDelay sub-blocks later multiplied, and after as
// many again scaled, while sub-block s of the next piece is unpacked.
template <typename Format, int kCount>
inline void multiply_run(PieceOrder order, Int8Workspace& work) {
  constexpr PanelShape kShape = panel_shape(Format::kDType);
  constexpr int kDelay = kPieceSubs / 2;
  const int64_t n_pieces = order.count();
  Stages<Format, kCount> stages{.work = work};
  Piece fresh, before;
  for (int64_t i = 0; i <= n_pieces; ++i) {
    before = fresh;
    fresh = i < n_pieces ? order.next() : Piece{};
    stages.codes = fresh.chunk + chunk_scale_bytes(kShape, fresh.n_cols, kRows);
    stages.scales = before.chunk;
    float(*sums)[kRows] = work.sums[before.panel];
#pragma GCC unroll 16
    for (int n = 0; n < kCount; ++n) stages.y[n] = _mm512_load_ps(sums[n]);
    const auto step = [&](int s, int sub) __attribute__((always_inline)) {
      if (s * kQ8BlockCols < before.n_cols) stages.scale(s, sub, before.block + s);
      const Piece& of_product = s < kDelay ? before : fresh;
      const int of_piece = (s + kDelay) % kPieceSubs;
      if (of_piece * kQ8BlockCols < of_product.n_cols) stages.multiply(of_piece, of_product.block + of_piece);
      if (s * kQ8BlockCols < fresh.n_cols) {
        stages.unpack(s, sub);
        fetch_share<Format>(fresh, s);
      }
      publish(&work);
    };
    if constexpr (Format::kSubBlocks == kPieceSubs) {
#pragma GCC unroll 8
      for (int s = 0; s < kPieceSubs; ++s) step(s, s);
    } else {
      for (int s = 0; s < kPieceSubs; ++s) {
        step(s, 0);
        stages.codes += kShape.code_bytes * kRows;
        stages.scales += kShape.scale_bytes * kRows;
      }
    }
    if (before.n_cols > 0)
#pragma GCC unroll 16
      for (int n = 0; n < kCount; ++n) _mm512_store_ps(sums[n], stages.y[n]);
  }
}

template <typename Format>
inline void multiply_run(int n_columns, const PieceOrder& order, Int8Workspace& work) {
  if (n_columns == 16) return multiply_run<Format, 16>(order, work);
  if (n_columns == 12) return multiply_run<Format, 12>(order, work);
  if (n_columns == 8) return multiply_run<Format, 8>(order, work);
  multiply_run<Format, 4>(order, work);
}

template <int kTerms>
inline void store_panels(const MatmulArgs& args, RowRange rows, int64_t token, int64_t n_tokens, const Int8Workspace& work) {
  for (int64_t n = 0; n < n_tokens; ++n)
    for (int64_t row = rows.from; row < rows.to; row += kRows) {
      const auto& sums = work.sums[(row - rows.from) / kRows];
      Floats y = with_bias_and_residual(args, row, token + n, _mm512_load_ps(sums[n]));
      if constexpr (kTerms == 2) y = Lanes::sum(_mm512_load_ps(sums[n_tokens + n]), y);
      store(args, row, token + n, y);
    }
}

// kTerms of every token: 1 of "q8", 2 of "q8_fine".
template <typename Format, int kTerms>
inline void matmul_int8_tiles(const MatmulArgs& args, RowRange range) {
  constexpr int64_t kBlockTokens = kColumns / kTerms;
  const int64_t n_tokens = args.x.n_tokens, n_cols = args.w.n_cols;
  const int64_t panel_bytes = panel_size_bytes(panel_shape(Format::kDType), n_cols, kRows);
  Int8Workspace work;
  int64_t taken = -1;
  for (int64_t row = range.from; row < range.to; row += kBlockPanels * kRows) {
    const RowRange rows{row, row + kBlockPanels * kRows < range.to ? row + kBlockPanels * kRows : range.to};
    const int64_t n_panels = (rows.size() + kRows - 1) / kRows;
    for (int64_t token = 0; token < n_tokens; token += kBlockTokens) {
      const int64_t n = n_tokens - token < kBlockTokens ? n_tokens - token : kBlockTokens;
      const auto n_columns = static_cast<int>((n * kTerms + kColumnStep - 1) / kColumnStep * kColumnStep);
      const TileRegisters tiles(int8_config(n_columns, kHalvesOf<Format>));
      for (auto& of_panel : work.sums)
        for (int c = 0; c < n_columns; ++c) _mm512_store_ps(of_panel[c], _mm512_setzero_ps());
      for (int64_t col = 0; col < n_cols; col += kRunCols) {
        const int64_t run_cols = n_cols - col < kRunCols ? n_cols - col : kRunCols;
        if (taken != token * n_cols + col) take_tokens<kTerms>(args, token, n, col / kQ8BlockCols, run_cols / kQ8BlockCols, n_columns, work);
        taken = token * n_cols + col;
        publish(&work);
        const uint8_t* run = static_cast<const uint8_t*>(args.w.data) + row / kRows * panel_bytes +
                             col / kChunkCols * chunk_size_bytes(panel_shape(Format::kDType), kChunkCols, kRows);
        multiply_run<Format>(n_columns, PieceOrder(panel_shape(Format::kDType), run, n_panels, panel_bytes, run_cols), work);
      }
      store_panels<kTerms>(args, rows, token, n, work);
    }
  }
}

}  // namespace
}  // namespace olx::kernels::cpu
