#pragma once
// The matmul of prompts on AMX: weights of 16-row panels, unpacked to bfloat16 a block at a time,
// times activations in "q8_bf16" (activation_q8.h), in tiles of 16 x 16. Tokens that are made one
// at a time go to the integer kernel of the same type, which reads the weights as they lie, or, if
// they are many, to int8_tiles.h. Included by the matmul files of this folder, each of which adds the types
// of its family; the types are those of the AVX-512 kernels. Internal linkage.
//
// Why bfloat16 and not int8 tiles: a tile product of int8 has to be scaled every 32 columns, which
// costs more than the product; in bfloat16 the scales are in the weights, and a sum over all
// columns stays in a tile. The eight bits of both factors err by less than a third of what 7 bits
// for the largest of 32 activations do. Measured on a Granite Rapids guest, one core: 1845 G
// multiply-adds a second of tile products (int8 dot products: 436).

#include "kernels/api/args.h"
#include "kernels/cpu/activation_q8.h"
#include "kernels/cpu/amx/int8_tiles.h"
#include "kernels/cpu/amx/tiles.h"
#include "kernels/cpu/avx512/lanes.h"
#include "kernels/cpu/panel_formats.h"

namespace olx::kernels::cpu {
namespace {

// A block of unpacked weights and its sums stay in the second cache level while all tokens pass; of
// 32 tokens and of 32 rows, kBlockCols columns stay in the first. Where the tokens themselves fit into
// the second, all their columns pass few rows, which stay in the first: SmolLM2 with 512 tokens 117 -> 110.5 ms,
// Gemma 3 270M with 256 54 -> 50; where they do not fit it costs: the 1.1B with 512 559 -> 715.
constexpr int64_t kBlockTokens = 512;
constexpr int64_t kBlockRows = 256, kFewRows = 32;
constexpr int64_t kBlockCols = kChunkCols;
constexpr int64_t kNearBytes = 1 << 20;  // of tokens
static_assert(kTileBytes == kBf16TileBytes && kTileCols == kQ8BlockCols);

// Byte `index` of every dword as a number. A number below 128 is put where the mantissa of 2.0 begins, which is half the work
// of converting it: 2 + code / 64.
template <bool kIsSmall>
inline __m512 column_of(__m512i codes, int index) {
  if constexpr (kIsSmall) {
    const __m512i two = _mm512_set1_epi32(0x40000000);
    if (index == 2) return _mm512_castsi512_ps(_mm512_ternarylogic_epi32(two, codes, _mm512_set1_epi32(0xff0000), 0xf8));  // a | (b & c)
    const __m128i control = _mm_add_epi8(_mm_setr_epi8(0, 0, 0, 0, 4, 4, 4, 4, 8, 8, 8, 8, 12, 12, 12, 12), _mm_set1_epi8(static_cast<char>(index)));
    return _mm512_castsi512_ps(_mm512_mask_shuffle_epi8(two, 0x4444444444444444, codes, _mm512_broadcast_i32x4(control)));
  } else {
    const __m128i one = _mm_setr_epi8(0, -1, -1, -1, 4, -1, -1, -1, 8, -1, -1, -1, 12, -1, -1, -1);
    const __m128i control = _mm_or_si128(one, _mm_set1_epi32(index));  // -1 | index stays -1
    return _mm512_cvtepi32_ps(_mm512_shuffle_epi8(codes, _mm512_broadcast_i32x4(control)));
  }
}

// 16 rows x 32 columns as a tile: row r of it holds columns 2 r and 2 r + 1 of the 16 rows.
template <typename Format>
inline void unpack_tile(const uint8_t* scales, const uint8_t* codes, int sub, uint8_t* tile) {
  constexpr int kHalves = Format::kIsPer16 ? 2 : 1;
  constexpr int kGroups = 8 / kHalves;
  constexpr bool kIsSmall = Format::kMaxCode < 128;
#pragma GCC unroll 2
  for (int half = 0; half < kHalves; ++half) {
    __m512 w, m;
    Format::scales(scales, sub, half, w, m);
    if constexpr (Format::kOffset > 0) m = Lanes::mul(w, Format::kOffset);
    if constexpr (kIsSmall) {
      m = _mm512_fmadd_ps(w, _mm512_set1_ps(128.0f), m);
      w = _mm512_mul_ps(w, _mm512_set1_ps(64.0f));
    }
#pragma GCC unroll 8
    for (int g = half * kGroups; g < (half + 1) * kGroups; ++g) {
      const __m512i q = Format::codes(codes, sub, g);
      __m512 x[4];
#pragma GCC unroll 4
      for (int t = 0; t < 4; ++t) x[t] = _mm512_fmsub_ps(w, column_of<kIsSmall>(q, t), m);
      _mm512_store_si512(tile + 128 * g, bf16_pairs(x[0], x[1]));
      _mm512_store_si512(tile + 128 * g + 64, bf16_pairs(x[2], x[3]));
    }
  }
}

// What is fetched while a tile is unpacked.
template <typename Format>
inline __attribute__((always_inline)) void fetch_lines(const uint8_t* from) {
#pragma GCC unroll 16
  for (int64_t i = 0; i < kShareBytes<Format>; i += 64) fetch_now(from + i);
}

// A chunk of a panel as tiles, one after the other, while the chunk that comes next is fetched: the processor does not do that by
// itself, for it lies elsewhere. 9 tokens of SmolLM2: 10.5 -> 8.0 ms.
template <typename Format>
inline void unpack_chunk(const uint8_t* chunk, int64_t n_cols, const uint8_t* next, uint8_t* tiles) {
  constexpr PanelShape kShape = panel_shape(Format::kDType);
  const uint8_t* scales = chunk;
  const uint8_t* codes = chunk + chunk_scale_bytes(kShape, n_cols, kRows);
  for (int64_t col = 0; col < n_cols; col += kShape.block_elems) {
#pragma GCC unroll 8
    for (int sub = 0; sub < Format::kSubBlocks; ++sub, tiles += kTileBytes) {
      fetch_lines<Format>(next);
      next += kShareBytes<Format>;
      unpack_tile<Format>(scales, codes, sub, tiles);
    }
    scales += kShape.scale_bytes * kRows;
    codes += kShape.code_bytes * kRows;
  }
}

// kTokenTiles x kPanels tiles of sums [16 tokens][16 rows] over n_blocks tiles of columns. Tiles
// 0..3: sums, 4 and 5: tokens, 6 and 7: weights. a, b: the first tile of each; those of further
// columns follow. ahead: tokens that are needed next, a quarter of a tile of which is fetched to the second cache level with
// each block (past the last column it is a hint about nothing). sums: [2][2] tiles.
template <int kTokenTiles, int kPanels>
inline void multiply_tiles(const uint8_t* const* a, const uint8_t* const* b, const uint8_t* ahead, int64_t n_blocks, bool is_first,
                           float* sums) {
  load_sums<(kPanels > 1), (kTokenTiles > 1)>(sums, 512, is_first);
  for (int64_t offset = 0; offset < n_blocks * kTileBytes; offset += kTileBytes) {
    _tile_loadd(4, a[0] + offset, 64);
    _tile_loadd(6, b[0] + offset, 64);
    _tile_dpbf16ps(0, 4, 6);
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) __builtin_prefetch(ahead + offset / 4 + 64 * i, 0, 2);
    if constexpr (kPanels > 1) {
      _tile_loadd(7, b[1] + offset, 64);
      _tile_dpbf16ps(1, 4, 7);
    }
    if constexpr (kTokenTiles > 1) {
      _tile_loadd(5, a[1] + offset, 64);
      _tile_dpbf16ps(2, 5, 6);
      if constexpr (kPanels > 1) _tile_dpbf16ps(3, 5, 7);
    }
  }
  store_sums<(kPanels > 1), (kTokenTiles > 1)>(sums, 512);
}

// What a call works on beside its arguments. sums: [pair of token tiles][pair of panels][2 tiles][2
// panels][16][16].
struct BlockWorkspace {
  alignas(64) uint8_t weights[kBlockRows * kBlockCols * 2];
  alignas(64) float sums[kBlockTokens * kBlockRows];
};

// Tokens [token, token_end) of the prompt times the unpacked rows [row, row_end) and columns [col,
// col_end).
inline void multiply_block(const MatmulArgs& args, RowRange tokens, RowRange rows, RowRange cols,
                           BlockWorkspace& space) {
  const int64_t n_single = args.x.n_tokens - args.x.n_prompt, n_cols = args.x.n_cols;
  const uint8_t* x = static_cast<const uint8_t*>(args.x.data) + bf16_tiles_offset(n_single, n_cols);
  const int64_t n_blocks = cols.size() / kTileCols, panel_bytes = n_blocks * kTileBytes;
  const bool is_first = cols.from == 0;
  for (int64_t token = tokens.from; token < tokens.to; token += 2 * kBf16TileTokens) {
    const bool has_two_tiles = tokens.to - token > kBf16TileTokens;
    const uint8_t* const first =
        x + bf16_token_offset(token, n_cols) + cols.from / kTileCols * kTileBytes;
    const uint8_t* const a[2] = {first, first + n_cols / kTileCols * kTileBytes};
    float* sums = space.sums + (token - tokens.from) * kBlockRows;
    const uint8_t* panel = space.weights;
    for (int64_t row = rows.from; row < rows.to;
         row += 2 * kRows, sums += 1024, panel += 2 * panel_bytes) {
      const bool has_two_panels = rows.to - row > kRows;
      const uint8_t* const b[2] = {panel, panel + panel_bytes};
      // Each pair of panels fetches its share of what these tokens have in the next columns.
      const int64_t pair = (row - rows.from) / (2 * kRows);
      const uint8_t* ahead = a[pair / 4] + panel_bytes + pair % 4 * panel_bytes / 4;
      if (has_two_tiles && has_two_panels)
        multiply_tiles<2, 2>(a, b, ahead, n_blocks, is_first, sums);
      else if (has_two_tiles)
        multiply_tiles<2, 1>(a, b, ahead, n_blocks, is_first, sums);
      else if (has_two_panels)
        multiply_tiles<1, 2>(a, b, ahead, n_blocks, is_first, sums);
      else
        multiply_tiles<1, 1>(a, b, ahead, n_blocks, is_first, sums);
    }
  }
}

// The finished sums to y, with bias and residual.
inline void store_block(const MatmulArgs& args, RowRange tokens, RowRange rows,
                        const BlockWorkspace& space) {
  const int64_t n_single = args.x.n_tokens - args.x.n_prompt;
  for (int64_t token = tokens.from; token < tokens.to; ++token) {
    const int64_t at = (n_single + token) * args.y.row_stride_elems, in = token - tokens.from;
    const float* sums = space.sums + in / 32 * 32 * kBlockRows + in % 32 / 16 * 512 + in % 16 * 16;
    for (int64_t row = rows.from; row < rows.to; row += kRows) {
      const int64_t left = rows.to - row, panel = (row - rows.from) / kRows;
      const __mmask16 mask = left >= 16 ? 0xffff : static_cast<__mmask16>((1u << left) - 1);
      __m512 y = _mm512_load_ps(sums + panel / 2 * 1024 + panel % 2 * 256);
      if (args.bias) y = _mm512_add_ps(y, _mm512_maskz_loadu_ps(mask, args.bias + row));
      if (args.residual)
        y = _mm512_add_ps(y, _mm512_maskz_loadu_ps(mask, args.residual + at + row));
      _mm512_mask_storeu_ps(args.y.data + at + row, mask, y);
    }
  }
}

// A pair of panels, or one, times kTokenTiles tiles of tokens, all columns: each two tiles of weights are multiplied while the next
// are unpacked, for of few tokens the products would only wait for each other. The same sums as multiply_block's. panel, next: the
// first chunk of the pair, and of the pair that is fetched meanwhile. x: as `a` of multiply_tiles.
template <typename Format, int kTokenTiles, int kPanels>
inline void multiply_few(const uint8_t* panel, const uint8_t* next, const uint8_t* const* x, int64_t n_cols, BlockWorkspace& space) {
  constexpr PanelShape kShape = panel_shape(Format::kDType);
  const int64_t panel_bytes = panel_size_bytes(kShape, n_cols, kRows);
  const uint8_t* const end = panel + panel_bytes;
  int64_t step = 0;
  const auto load_tokens = [&](int64_t at) {
    _tile_loadd(4, x[0] + at * kTileBytes, 64);
    if constexpr (kTokenTiles > 1) _tile_loadd(5, x[1] + at * kTileBytes, 64);
  };
  const auto multiply = [&](int64_t at) {
    const uint8_t* weights = space.weights + at % 2 * kPanels * kTileBytes;
    publish(weights);
    _tile_loadd(6, weights, 64);
    _tile_dpbf16ps(0, 4, 6);
    if constexpr (kTokenTiles > 1) _tile_dpbf16ps(2, 5, 6);
    if constexpr (kPanels > 1) {
      _tile_loadd(7, weights + kTileBytes, 64);
      _tile_dpbf16ps(1, 4, 7);
      if constexpr (kTokenTiles > 1) _tile_dpbf16ps(3, 5, 7);
    }
  };
  load_sums<(kPanels > 1), (kTokenTiles > 1)>(space.sums, 512, true);
  for (int64_t col = 0; col < n_cols; col += kChunkCols) {
    const int64_t n = n_cols - col < kChunkCols ? n_cols - col : kChunkCols, chunk_bytes = chunk_size_bytes(kShape, n, kRows);
    const uint8_t *scales = panel, *codes = panel + chunk_scale_bytes(kShape, n, kRows), *ahead = panel + chunk_bytes;
    if (ahead == end) ahead = next;
    for (int64_t block = 0; block < n; block += kShape.block_elems) {
#pragma GCC unroll 8
      for (int sub = 0; sub < Format::kSubBlocks; ++sub, ++step, ahead += kShareBytes<Format>) {
        if (step > 0) load_tokens(step - 1);
#pragma GCC unroll 1
        for (int p = 0; p < kPanels; ++p) {
          fetch_lines<Format>(ahead + p * panel_bytes);
          unpack_tile<Format>(scales + p * panel_bytes, codes + p * panel_bytes, sub,
                              space.weights + (step % 2 * kPanels + p) * kTileBytes);
        }
        if (step > 0) multiply(step - 1);
      }
      scales += kShape.scale_bytes * kRows;
      codes += kShape.code_bytes * kRows;
    }
    panel += chunk_bytes;
  }
  load_tokens(step - 1);
  multiply(step - 1);
  store_sums<(kPanels > 1), (kTokenTiles > 1)>(space.sums, 512);
  publish(&space);
}

// kSingle: the integer matmul of the same type, for the tokens before the prompt's.
template <typename Format, void (*kSingle)(const MatmulArgs&, RowRange)>
inline void matmul_tiles(const MatmulArgs& args, RowRange range) {
  const int64_t n_prompt = args.x.n_prompt, n_single = args.x.n_tokens - n_prompt,
                n_cols = args.w.n_cols;
  if (n_single > 0) {
    MatmulArgs single = args;
    single.x.format = &kActivationQ8;
    single.x.n_tokens = single.y.n_rows = n_single;
    single.x.n_prompt = 0;
    if (n_single >= kFewestColumns<Format>)
      matmul_int8_tiles<Format, 1>(single, range);
    else
      kSingle(single, range);
  }
  if (n_prompt == 0) return;
  constexpr PanelShape kShape = panel_shape(Format::kDType);
  const int64_t chunk_bytes = chunk_size_bytes(kShape, kChunkCols, kRows),
                panel_bytes = panel_size_bytes(kShape, n_cols, kRows);
  const auto chunk = [&](int64_t row, int64_t col) {
    return static_cast<const uint8_t*>(args.w.data) + row / kRows * panel_bytes + col / kChunkCols * chunk_bytes;
  };
  BlockWorkspace space;
  const TileRegisters tiles;
  if (n_prompt <= 2 * kBf16TileTokens) {
    const uint8_t* const first = static_cast<const uint8_t*>(args.x.data) + bf16_tiles_offset(n_single, n_cols);
    const uint8_t* const x[2] = {first, first + n_cols / kTileCols * kTileBytes};
    for (int64_t row = range.from; row < range.to; row += kFewRows) {
      const RowRange rows{row, row + kFewRows < range.to ? row + kFewRows : range.to};
      const auto multiply = [&]<int kTokenTiles, int kPanels>() {
        multiply_few<Format, kTokenTiles, kPanels>(chunk(row, 0), chunk(row + kFewRows, 0), x, n_cols, space);
      };
      const bool has_two_tiles = n_prompt > kBf16TileTokens;
      if (rows.size() > kRows)
        has_two_tiles ? multiply.template operator()<2, 2>() : multiply.template operator()<1, 2>();
      else
        has_two_tiles ? multiply.template operator()<2, 1>() : multiply.template operator()<1, 1>();
      store_block(args, {0, n_prompt}, rows, space);
    }
    return;
  }
  for (int64_t token = 0; token < n_prompt; token += kBlockTokens) {
    const RowRange tokens{token, token + kBlockTokens < n_prompt ? token + kBlockTokens : n_prompt};
    const int64_t block_rows = tokens.size() * n_cols * 2 <= kNearBytes ? kFewRows : kBlockRows;
    for (int64_t row = range.from; row < range.to; row += block_rows) {
      const RowRange rows{row, row + block_rows < range.to ? row + block_rows : range.to};
      for (int64_t col = 0; col < n_cols; col += kBlockCols) {
        const RowRange cols{col, col + kBlockCols < n_cols ? col + kBlockCols : n_cols};
        const uint8_t* const next_block = cols.to < n_cols ? chunk(rows.from, cols.to) : chunk(rows.to, 0);
        uint8_t* to = space.weights;
        for (int64_t r = rows.from; r < rows.to; r += kRows, to += cols.size() * kRows * 2)
          unpack_chunk<Format>(chunk(r, col), cols.size(), r + kRows < rows.to ? chunk(r + kRows, col) : next_block, to);
        publish(&space);
        multiply_block(args, tokens, rows, cols, space);
      }
      store_block(args, tokens, rows, space);
    }
  }
}

}  // namespace
}  // namespace olx::kernels::cpu

// matmul_q4_k_amx and matmul_q4_k_amx_fine from the format Q4_K and matmul_q4_k_avx512 and its _fine, `single` being avx512.
#define OLX_MATMUL_TILES(type, format, single)                                  \
  void matmul_##type##_##single(const MatmulArgs& args, RowRange range);        \
  void matmul_##type##_##single##_fine(const MatmulArgs& args, RowRange range); \
  void matmul_##type##_amx(const MatmulArgs& args, RowRange range) {            \
    matmul_tiles<format, &matmul_##type##_##single>(args, range);               \
  }                                                                             \
  void matmul_##type##_amx_fine(const MatmulArgs& args, RowRange range) {       \
    if (2 * args.x.n_tokens >= kFewestColumns<format>)                          \
      matmul_int8_tiles<format, 2>(args, range);                                \
    else                                                                        \
      matmul_##type##_##single##_fine(args, range);                             \
  }
