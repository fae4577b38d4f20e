#pragma once
// Attention of the tokens of prompts on AMX tiles (tiles.h); those that are made one at a time go to the kernel of AVX-512.
// Include simd.h of AVX-512, rowwise/elementwise.h and rowwise/attention.h before. Internal linkage.
//
// Every factor is two bfloat16: the nearest one and the nearest to what that leaves, 16 bits together, exact for what an f16
// cache holds. Three of the four products are added, the fourth is below 2^-16 of the first: the result is within the bounds of
// f32. Measured: a prompt twice as fast as with f32 vectors.
//
// A lane is a query, from the scores to the output: S^T = K Q^T, softmax down the positions, O^T = V^T P^T. So K is taken as it
// lies, V is transposed once for all queries of a work tile, peaks and sums are vectors and need no sums across lanes. Keys and
// values become tiles a few at a time, and these are multiplied while they are in the first cache level.
//
// Order of sums: as rowwise/attention.h says it, segments of blocks, within a block steps of 32. It is one and the same for a
// token, whoever shares its tile and whichever split does a segment: a position it does not see weighs 0 and adds 0, for what is
// no finite number is taken out of V and added by itself to those that see it.

#include <cstdint>

#include "kernels/api/args.h"
#include "kernels/cpu/amx/tiles.h"
#include "kernels/cpu/rowwise/limits.h"

namespace olx::kernels::cpu {
namespace {

constexpr int64_t kTileQueries = 16;
constexpr int64_t kMostTileQueries = 256;             // of a work tile: K and V are prepared once for all
constexpr int64_t kMostTileElems = 64 * kMaxHeadDim;  // of their elements
constexpr int64_t kTerms = 2;                         // bfloat16 tiles of a factor: the nearest, what it leaves
constexpr int64_t kFactorBytes = kTerms * kTileBytes;
constexpr int64_t kBlockSteps = kBlock / kTileCols;

constexpr int64_t kMostQueryTiles = kMostTileQueries / kTileQueries;
constexpr int64_t kScoresElems = kBlock * kTileQueries, kWeightsBytes = kBlockSteps * kFactorBytes;  // of a query tile

// Query tiles that see some of a block: one, or two neighbours.
struct QueryTiles {
  int64_t first;  // query
  bool is_pair;
  bool is_first;  // none of them has seen a block of the segment yet
};

// The memory of one thread while it works on a tile: on its stack. Factors are tiles in the order named, term by term.
struct TileWorkspace {
  alignas(64) uint8_t queries[kMostTileElems * 2 * kTerms];             // [query tile][step of head_dim], scaled
  alignas(64) uint8_t keys[kTileCols * kMaxHeadDim * 2 * kTerms];       // [16 positions][step of head_dim], of 32 positions
  alignas(64) uint8_t values[2 * kWeightsBytes];                        // [16 of head_dim][step of positions], of 32 of head_dim
  alignas(64) uint8_t weights[kMostQueryTiles * kWeightsBytes];         // [query tile][step of positions]
  alignas(64) float scores[kMostQueryTiles * kScoresElems];             // [query tile][position][query]
  alignas(64) float outputs[kMostTileElems];                            // [query tile][head_dim][query], of the segment
  alignas(64) float totals[kMostTileElems];                             // of the segments before it
  alignas(64) float decoded[kBlock * kMaxHeadDim];                      // rows of a cache that is not plain
  alignas(64) float peaks[kMostTileQueries], sums[kMostTileQueries];    // of the segment
  alignas(64) float total_peaks[kMostTileQueries], total_sums[kMostTileQueries];
  alignas(64) int32_t from[kMostTileQueries], to[kMostTileQueries];  // positions a query sees; none: a lane without one
  bool is_empty[kMostQueryTiles];                                    // no block of the segment is in the outputs of a query tile
  QueryTiles seeing[kMostQueryTiles];                                // those that see some of the block
  int n_seeing;
  int n_odd;        // rows of V in this block that hold what is no finite number
  int odd[kBlock];  // their positions
  alignas(64) float odd_values[kBlock * kMaxHeadDim];  // their elements
};

inline F high_half(F x) {
  return _mm512_castsi512_ps(_mm512_and_si512(_mm512_castps_si512(x), _mm512_set1_epi32(static_cast<int32_t>(0xffff0000))));
}
inline __m512i exact_pairs(F even, F odd) {  // of numbers that are bfloat16, the first of any number of which the rest is not wanted
  return _mm512_or_si512(_mm512_srli_epi32(_mm512_castps_si512(even), 16), _mm512_castps_si512(odd));
}
// Two vectors as pairs, to a row of a tile of each term.
inline void store_pairs(uint8_t* to, F even, F odd) {
  const auto nearest = [](F x) {
    return high_half(_mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(x), _mm512_set1_epi32(0x8000))));
  };
  const F even_high = nearest(even), odd_high = nearest(odd);
  _mm512_store_si512(to, exact_pairs(even_high, odd_high));
  _mm512_store_si512(to + kTileBytes, bf16_pairs(_mm512_sub_ps(even, even_high), _mm512_sub_ps(odd, odd_high)));
}
// The same of elements of rows.
template <typename Row>
inline void store_row_pairs(uint8_t* to, F even, F odd) {
  store_pairs(to, even, odd);
}
template <>
inline void store_row_pairs<RowF16>(uint8_t* to, F even, F odd) {  // what the first 8 bits leave of an f16 are 3
  const F even_high = high_half(even), odd_high = high_half(odd);
  _mm512_store_si512(to, exact_pairs(even, odd_high));
  _mm512_store_si512(to + kTileBytes, exact_pairs(_mm512_sub_ps(even, even_high), _mm512_sub_ps(odd, odd_high)));
}

// Adds to sums[2][kQueryTiles] a step of a[2] times b[kQueryTiles], each [term]. Tiles 0..3: sums, 4 and 5: a, 6 and 7: b.
template <int kQueryTiles>
inline void multiply_step(const uint8_t* a, int64_t a_stride, const uint8_t* b, int64_t b_stride) {
  const auto multiply = [] {
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 5, 6);
    if constexpr (kQueryTiles > 1) _tile_dpbf16ps(2, 4, 7);
    if constexpr (kQueryTiles > 1) _tile_dpbf16ps(3, 5, 7);
  };
  _tile_loadd(4, a, 64);
  _tile_loadd(5, a + a_stride, 64);
  _tile_loadd(6, b + kTileBytes, 64);
  if constexpr (kQueryTiles > 1) _tile_loadd(7, b + b_stride + kTileBytes, 64);
  multiply();
  _tile_loadd(6, b, 64);
  if constexpr (kQueryTiles > 1) _tile_loadd(7, b + b_stride, 64);
  multiply();
  _tile_loadd(4, a + kTileBytes, 64);
  _tile_loadd(5, a + a_stride + kTileBytes, 64);
  multiply();
}

// The same of n_steps steps, and the sums from and to memory: a tile of them is 256 numbers behind the one before it,
// sums_stride numbers for the next of b.
template <int kQueryTiles>
inline void multiply_factors(const uint8_t* a, int64_t a_stride, const uint8_t* b, int64_t b_stride, int64_t n_steps, bool is_first,
                             float* sums, int64_t sums_stride) {
  load_sums<true, (kQueryTiles > 1)>(sums, sums_stride, is_first);
  for (int64_t step = 0; step < n_steps; ++step)
    multiply_step<kQueryTiles>(a + step * kFactorBytes, a_stride, b + step * kFactorBytes, b_stride);
  store_sums<true, (kQueryTiles > 1)>(sums, sums_stride);
}

// Queries of a work tile, what they see, and that nothing is summed yet.
inline void prepare_queries(const AttentionArgs& args, const Tile& tile, int64_t n_queries, TileWorkspace& work) {
  const int64_t head_dim = args.kv.head_dim, n_steps = head_dim / kTileCols;
  for (int64_t first = 0; first < n_queries; first += kTileQueries) {
    uint8_t* tiles = work.queries + first / kTileQueries * n_steps * kFactorBytes;
    for (int64_t d = 0; d < head_dim; d += kTileCols) {
      F x[2][kTileQueries];
      for (int64_t half = 0; half < 2; ++half) {
        for (int64_t i = 0; i < kTileQueries; ++i) {
          const int64_t q = first + i, at = (tile.kv_head * tile.n_group + q % tile.n_group) * head_dim + d + half * Simd::kLanes;
          x[half][i] = q < n_queries ? Simd::load(args.q.row(tile.token + q / tile.n_group) + at) : Simd::set(0.0f);
          x[half][i] = Simd::mul(x[half][i], Simd::set(args.scale));
        }
        Simd::transpose(x[half]);
      }
      uint8_t* to = tiles + d / kTileCols * kFactorBytes;
      for (int i = 0; i < kTileQueries; ++i) store_pairs(to + i * 64, x[0][i], x[1][i]);
    }
    for (int64_t q = first; q < first + kTileQueries; ++q) {
      const Span span = q < n_queries ? visible(args, tile.token + q / tile.n_group) : Span{INT32_MAX, 0};
      work.from[q] = static_cast<int32_t>(span.from);
      work.to[q] = static_cast<int32_t>(span.to);
      work.total_peaks[q] = -__builtin_inff();
      work.total_sums[q] = 0.0f;
    }
  }
}

// Rows whose vectors Row::load gives: those of the cache, or decoded ones.
template <typename Row>
inline auto plain_rows(const uint8_t** rows, Span seen, int64_t head_dim, float* decoded) {
  if constexpr (Row::kIsPlain) {
    return Row{};
  } else {
    for (int64_t p = seen.from; p < seen.to; ++p) {
      Row::decode(rows[p], decoded + p * head_dim, head_dim);
      rows[p] = reinterpret_cast<const uint8_t*>(decoded + p * head_dim);
    }
    return RowF32{};
  }
}

// Rows that stand for positions no token sees.
alignas(64) constexpr uint8_t kZeros[kMaxHeadDim * sizeof(float)] = {};

// Keys or values of the next block, fetched to the second cache level while those of this one become tiles, 32 x 32 elements a step.
using NextRows = RowsAhead<2>;
constexpr int kNextLines = 32;

// rows[i] for positions of a block, but zeros where none of `seen` is.
inline void seen_rows(const uint8_t* const* rows, Span seen, int64_t low, int64_t high, const uint8_t** to) {
  for (int64_t p = low; p < high; ++p) to[p] = p >= seen.from && p < seen.to ? rows[p] : kZeros;
}

// Elements [d, d + 32) of 32 keys, as two tiles of 16 positions, `stride` bytes apart. The columns of a tile are d, d + 16, d + 1 and
// so on, those of queries too: pairs cost less that way.
template <typename Row>
inline void prepare_keys(Row, const uint8_t* const* rows, int64_t d, int64_t stride, NextRows& next, uint8_t* keys) {
  next.step();
  for (int tile = 0; tile < 2; ++tile, rows += 16, keys += stride)
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) store_row_pairs<Row>(keys + i * 64, Row::load(rows[i], d), Row::load(rows[i], d + 16));
}

// fn<1 or 2>(tiles) for the query tiles that see some of the block.
template <typename Fn>
inline void each_seeing(TileWorkspace& work, Fn fn) {
  for (int i = 0; i < work.n_seeing; ++i) {
    QueryTiles& tiles = work.seeing[i];
    tiles.is_pair ? fn.template operator()<2>(tiles) : fn.template operator()<1>(tiles);
  }
}

// Scores of positions [low, high) of a block, multiples of 32, whose keys are `rows`.
template <typename Row>
inline void score_block(Row row, const uint8_t* const* rows, int64_t low, int64_t high, int64_t head_dim, NextRows& next,
                        TileWorkspace& work) {
  const int64_t n_steps = head_dim / kTileCols, factor_bytes = n_steps * kFactorBytes;
  for (int64_t p = low; p < high; p += kTileCols) {
    for (int64_t step = 0; step < n_steps; ++step)
      prepare_keys(row, rows + p, step * kTileCols, factor_bytes, next, work.keys + step * kFactorBytes);
    publish(&work);
    each_seeing(work, [&]<int kQueryTiles>(const QueryTiles& tiles) {
      const int64_t tile = tiles.first / kTileQueries;
      multiply_factors<kQueryTiles>(work.keys, factor_bytes, work.queries + tile * factor_bytes, factor_bytes, n_steps, true,
                                    work.scores + tile * kScoresElems + p * kTileQueries, kScoresElems);
    });
  }
  publish(&work);
}

// The largest of `so_far` and the bits of a row's elements without their signs.
template <typename Row>
inline __m512i largest_bits(const uint8_t* row, int64_t head_dim, __m512i so_far) {
  for (int64_t d = 0; d < head_dim; d += 16)
    so_far = _mm512_max_epi32(so_far, _mm512_and_si512(_mm512_castps_si512(Row::load(row, d)), _mm512_set1_epi32(0x7fffffff)));
  return so_far;
}
template <typename Row>
inline bool are_finite(__m512i largest) {
  return _mm512_cmpge_epi32_mask(largest, _mm512_set1_epi32(0x7f800000)) == 0;
}
template <>
inline __m512i largest_bits<RowF16>(const uint8_t* row, int64_t head_dim, __m512i so_far) {
#pragma GCC unroll 2
  for (int64_t d = 0; d < head_dim; d += 32)
    so_far = _mm512_max_epi16(so_far, _mm512_and_si512(_mm512_loadu_si512(row + 2 * d), _mm512_set1_epi16(0x7fff)));
  return so_far;
}
template <>
inline bool are_finite<RowF16>(__m512i largest) {
  return _mm512_cmpge_epi16_mask(largest, _mm512_set1_epi16(0x7c00)) == 0;
}

// Takes rows of V that hold what is no finite number out of `rows`, and keeps them beside.
template <typename Row>
inline void take_out_odd(Row, const uint8_t** rows, int64_t low, int64_t high, int64_t head_dim, TileWorkspace& work) {
  work.n_odd = 0;
  __m512i largest = _mm512_setzero_si512();
  for (int64_t p = low; p < high; ++p) largest = largest_bits<Row>(rows[p], head_dim, largest);
  if (are_finite<Row>(largest)) return;
  for (int64_t p = low; p < high; ++p) {
    if (are_finite<Row>(largest_bits<Row>(rows[p], head_dim, _mm512_setzero_si512()))) continue;
    float* values = work.odd_values + work.n_odd * head_dim;
    for (int64_t d = 0; d < head_dim; d += Simd::kLanes) Simd::store(values + d, Row::load(rows[p], d));
    work.odd[work.n_odd++] = static_cast<int>(p);
    rows[p] = kZeros;
  }
}

// Elements [d, d + 32) of 32 rows as two tiles of each term, `stride` bytes apart: row i holds element d + i of them all, or d + 16 + i.
template <typename Row>
inline void transpose_values(const uint8_t* const* rows, int64_t d, int64_t stride, uint8_t* to) {
  for (int64_t half = 0; half < 2; ++half, to += stride) {
    F even[16], odd[16];
    for (int i = 0; i < 16; ++i) {
      even[i] = Row::load(rows[2 * i], d + 16 * half);
      odd[i] = Row::load(rows[2 * i + 1], d + 16 * half);
    }
    Simd::transpose(even);
    Simd::transpose(odd);
    for (int i = 0; i < 16; ++i) store_row_pairs<Row>(to + 64 * i, even[i], odd[i]);
  }
}

// Half the shuffles: f16 are transposed in pairs, of which the first eight are of even rows and the others of odd ones.
template <>
inline void transpose_values<RowF16>(const uint8_t* const* rows, int64_t d, int64_t stride, uint8_t* to) {
  uint8_t* const tiles[2] = {to, to + stride};
#pragma GCC unroll 2
  for (int upper = 0; upper < 2; ++upper) {  // halves of four elements of every eight
    F pairs[16];
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) {
      const int row = i % 8 * 4 + i / 8;
      const __m512i a = _mm512_loadu_si512(rows[row] + 2 * d), b = _mm512_loadu_si512(rows[row + 2] + 2 * d);
      pairs[i] = _mm512_castsi512_ps(upper == 0 ? _mm512_unpacklo_epi16(a, b) : _mm512_unpackhi_epi16(a, b));
    }
    Simd::transpose(pairs);
    alignas(64) uint16_t transposed[16][32];  // through memory: what is taken apart in registers needs two shuffles more
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) Simd::store(reinterpret_cast<float*>(transposed[i]), pairs[i]);
    publish(transposed);
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) {
      const int element = i / 4 * 8 + upper * 4 + i % 4;
      store_row_pairs<RowF16>(tiles[element / 16] + element % 16 * 64, Simd::load_f16(transposed[i]), Simd::load_f16(transposed[i] + 16));
    }
  }
}

// Scores [position][query] of positions [low, high) of a block -> weights, peaks and sums of a query tile. Returns what its outputs
// must be multiplied with, for peaks have risen. first: the tile's first query.
inline F weigh_scores(const AttentionArgs& args, int64_t block, int64_t low, int64_t high, int64_t first, TileWorkspace& work) {
  float* scores = work.scores + first / kTileQueries * kScoresElems;
  uint8_t* weights = work.weights + first / kTileQueries * kWeightsBytes;
  const __m512i from = _mm512_sub_epi32(_mm512_load_si512(work.from + first), _mm512_set1_epi32(static_cast<int32_t>(block)));
  const __m512i to = _mm512_sub_epi32(_mm512_load_si512(work.to + first), _mm512_set1_epi32(static_cast<int32_t>(block)));
  const bool all_see_all = _mm512_cmple_epi32_mask(from, _mm512_set1_epi32(static_cast<int32_t>(low))) == 0xffff &&
                           _mm512_cmpge_epi32_mask(to, _mm512_set1_epi32(static_cast<int32_t>(high))) == 0xffff;
  const F none = Simd::set(-__builtin_inff());
  F peak[4] = {none, none, none, none};
  const F cap = Simd::set(args.softcap), inverse_cap = Simd::set(args.softcap > 0.0f ? 1.0f / args.softcap : 0.0f);
  for (int64_t p = low; p < high; p += 4)
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      float* at = scores + (p + i) * kTileQueries;
      F x = Simd::load(at);
      if (args.softcap > 0.0f) x = Simd::mul(cap, tanh(Simd::mul(x, inverse_cap)));
      if (!all_see_all) {
        const __m512i position = _mm512_set1_epi32(static_cast<int32_t>(p + i));
        x = _mm512_mask_mov_ps(none, _mm512_cmple_epi32_mask(from, position) & _mm512_cmplt_epi32_mask(position, to), x);
      }
      if (args.softcap > 0.0f || !all_see_all) Simd::store(at, x);
      peak[i] = Simd::max(x, peak[i]);
    }
  const F before = Simd::load(work.peaks + first);
  const F now = Simd::max(Simd::max(Simd::max(peak[0], peak[1]), Simd::max(peak[2], peak[3])), before);
  const __mmask16 sees_some = _mm512_cmp_ps_mask(now, none, _CMP_NEQ_UQ);
  const F base = _mm512_maskz_mov_ps(sees_some, now);
  const F factor = _mm512_mask_mov_ps(Simd::set(1.0f), _mm512_cmp_ps_mask(now, before, _CMP_NEQ_UQ), exp(Simd::sub(before, base)));
  F sum[2] = {Simd::mul(Simd::load(work.sums + first), factor), Simd::set(0.0f)};
  Simd::store(work.peaks + first, now);
  for (int64_t p = low; p < high; p += 4)
#pragma GCC unroll 2
    for (int i = 0; i < 2; ++i) {
      float* at = scores + (p + 2 * i) * kTileQueries;
      const F even = exp(Simd::sub(Simd::load(at), base)), odd = exp(Simd::sub(Simd::load(at + kTileQueries), base));
      sum[i] = Simd::add(sum[i], Simd::add(even, odd));
      const int64_t row = (p + 2 * i) % kTileCols / 2;
      store_pairs(weights + p / kTileCols * kFactorBytes + row * 64, even, odd);
      if (work.n_odd == 0) continue;
      Simd::store(at, even);
      Simd::store(at + kTileQueries, odd);
    }
  Simd::store(work.sums + first, Simd::add(sum[0], sum[1]));
  return factor;
}

inline void rescale_outputs(F factor, int64_t head_dim, float* outputs) {
  if (_mm512_cmp_ps_mask(factor, Simd::set(1.0f), _CMP_NEQ_UQ) == 0) return;
  for (int64_t d = 0; d < head_dim; ++d) Simd::store(outputs + d * kTileQueries, Simd::mul(Simd::load(outputs + d * kTileQueries), factor));
}

// The rows of V that take_out_odd has kept.
[[gnu::noinline]] void add_odd_values(int64_t block, int64_t head_dim, TileWorkspace& work) {
  each_seeing(work, [&]<int kQueryTiles>(const QueryTiles& tiles) {
    for (int64_t first = tiles.first; first < tiles.first + kQueryTiles * kTileQueries; first += kTileQueries)
      for (int i = 0; i < work.n_odd; ++i) {
        const __m512i position = _mm512_set1_epi32(static_cast<int32_t>(block + work.odd[i]));
        const __mmask16 sees_it = _mm512_cmple_epi32_mask(_mm512_load_si512(work.from + first), position) &
                                  _mm512_cmplt_epi32_mask(position, _mm512_load_si512(work.to + first));
        const F weight = Simd::load(work.scores + first / kTileQueries * kScoresElems + work.odd[i] * kTileQueries);
        for (int64_t d = 0; d < head_dim; ++d) {
          float* at = work.outputs + first * head_dim + d * kTileQueries;
          Simd::store(at, _mm512_mask3_fmadd_ps(weight, Simd::set(work.odd_values[i * head_dim + d]), Simd::load(at), sees_it));
        }
      }
  });
}

// Scores of positions [low, high) of a block -> weights, and the outputs ready for what they weigh.
inline void weigh_block(const AttentionArgs& args, int64_t block, int64_t low, int64_t high, TileWorkspace& work) {
  const int64_t head_dim = args.kv.head_dim;
  each_seeing(work, [&]<int kQueryTiles>(QueryTiles& tiles) {
    bool* is_empty = work.is_empty + tiles.first / kTileQueries;
    tiles.is_first = is_empty[0] && is_empty[kQueryTiles - 1];
    for (int64_t i = 0; i < kQueryTiles; ++i) {
      const int64_t first = tiles.first + i * kTileQueries;
      float* outputs = work.outputs + first * head_dim;
      const F rescale = weigh_scores(args, block, low, high, first, work);
      if (!tiles.is_first && is_empty[i])
        for (int64_t at = 0; at < kTileQueries * head_dim; at += Simd::kLanes) Simd::store(outputs + at, Simd::set(0.0f));
      else if (!tiles.is_first)
        rescale_outputs(rescale, head_dim, outputs);
      is_empty[i] = false;
    }
  });
  publish(&work);
}

// Adds the values of positions [low, high) of a block, which are `rows`, to the outputs.
template <typename Row>
inline void add_values(Row, const uint8_t* const* rows, int64_t low, int64_t high, int64_t head_dim, NextRows& next,
                       TileWorkspace& work) {
  const int64_t n_steps = (high - low) / kTileCols;
  for (int64_t d = 0; d < head_dim; d += 32) {
    for (int64_t step = 0; step < n_steps; ++step) {
      next.step();
      transpose_values<Row>(rows + low + step * kTileCols, d, kWeightsBytes, work.values + step * kFactorBytes);
    }
    publish(&work);
    each_seeing(work, [&]<int kQueryTiles>(const QueryTiles& tiles) {
      const uint8_t* weights = work.weights + tiles.first / kTileQueries * kWeightsBytes + low / kTileCols * kFactorBytes;
      multiply_factors<kQueryTiles>(work.values, kWeightsBytes, weights, kWeightsBytes, n_steps, tiles.is_first,
                                    work.outputs + tiles.first * head_dim + d * kTileQueries, kTileQueries * head_dim);
    });
  }
  publish(&work);
}

// Which of 16 queries from `first` on see some of positions [start, end).
inline __mmask16 see(const TileWorkspace& work, int64_t first, int64_t start, int64_t end) {
  return _mm512_cmplt_epi32_mask(_mm512_load_si512(work.from + first), _mm512_set1_epi32(static_cast<int32_t>(end))) &
         _mm512_cmpgt_epi32_mask(_mm512_load_si512(work.to + first), _mm512_set1_epi32(static_cast<int32_t>(start)));
}

// Calls row(query, vectors) with outputs [head_dim][query] of the queries of a tile, 16 of head_dim of all of them at a time.
template <typename Rows>
inline void each_output(const float* outputs, int64_t head_dim, F factor, Rows rows) {
  for (int64_t d = 0; d < head_dim; d += Simd::kLanes) {
    F x[kTileQueries];
    for (int i = 0; i < kTileQueries; ++i) x[i] = Simd::mul(Simd::load(outputs + (d + i) * kTileQueries), factor);
    Simd::transpose(x);
    rows(d, x);
  }
}

// The segment of a query tile, which the queries of `seeing` see: joined to the segments before it, as join() does.
inline void join_segment(int64_t first, __mmask16 seeing, int64_t head_dim, TileWorkspace& work) {
  const F peak = Simd::load(work.total_peaks + first), sum = Simd::load(work.total_sums + first);
  const F more_peak = Simd::load(work.peaks + first), more_sum = Simd::load(work.sums + first);
  const __mmask16 is_begun = _mm512_cmp_ps_mask(sum, Simd::set(0.0f), _CMP_NEQ_UQ);
  const __mmask16 begins = seeing & ~is_begun, joins = seeing & is_begun;
  const Joined both = join_states(peak, sum, more_peak, more_sum);
  Simd::store(work.total_peaks + first, _mm512_mask_mov_ps(_mm512_mask_mov_ps(peak, begins, more_peak), joins, both.peak));
  Simd::store(work.total_sums + first, _mm512_mask_mov_ps(_mm512_mask_mov_ps(sum, begins, more_sum), joins, both.sum));
  for (int64_t at = first * head_dim; at < (first + kTileQueries) * head_dim; at += Simd::kLanes) {
    const F total = Simd::load(work.totals + at), more = Simd::load(work.outputs + at);
    const F joined = Simd::fma(total, both.of_a, Simd::mul(more, both.of_b));
    Simd::store(work.totals + at, _mm512_mask_mov_ps(_mm512_mask_mov_ps(total, begins, more), joins, joined));
  }
}

// The same left in the scratch, for arrive().
inline void leave_segment(const Tile& tile, const Partials& partials, int64_t segment, int64_t first, __mmask16 seeing, int64_t head_dim,
                          const TileWorkspace& work) {
  float* at[kTileQueries] = {};
  for (int i = 0; i < kTileQueries; ++i) {
    if ((seeing >> i & 1) == 0) continue;
    const int64_t q = first + i;
    at[i] = partials.at(tile.token + q / tile.n_group, tile.kv_head * tile.n_group + q % tile.n_group, segment);
    at[i][0] = work.peaks[q];
    at[i][1] = work.sums[q];
  }
  each_output(work.outputs + first * head_dim, head_dim, Simd::set(1.0f), [&](int64_t d, const F(&x)[kTileQueries]) {
    for (int i = 0; i < kTileQueries; ++i)
      if (at[i] != nullptr) Simd::store(at[i] + 2 + d, x[i]);
  });
}

// Sinks, the division by the sums, and the totals to y.
inline void finish_queries(const AttentionArgs& args, const Tile& tile, int64_t n_queries, TileWorkspace& work) {
  const int64_t head_dim = args.kv.head_dim;
  for (int64_t first = 0; first < n_queries; first += kTileQueries) {
    const F sum = Simd::load(work.total_sums + first);
    F factor;
    if (args.sinks) {
      alignas(64) float sinks[kTileQueries];
      for (int64_t i = 0; i < kTileQueries; ++i) sinks[i] = args.sinks[tile.kv_head * tile.n_group + (first + i) % tile.n_group];
      factor = output_factor(Simd::load(work.total_peaks + first), sum, Simd::load(sinks));
    } else {
      factor = output_factor(sum);
    }
    each_output(work.totals + first * head_dim, head_dim, factor, [&](int64_t d, const F(&x)[kTileQueries]) {
      for (int64_t i = 0; i < kTileQueries && first + i < n_queries; ++i) {
        const int64_t q = first + i, head = tile.kv_head * tile.n_group + q % tile.n_group;
        Simd::store(args.y.row(tile.token + q / tile.n_group) + head * head_dim + d, x[i]);
      }
    });
  }
}

// The query tiles that see some of a block, in twos where neighbours do.
inline void find_seeing(int64_t n_queries, int64_t block, TileWorkspace& work) {
  work.n_seeing = 0;
  for (int64_t first = 0; first < n_queries; first += kTileQueries) {
    if (see(work, first, block, block + kBlock) == 0) continue;
    const bool is_pair = first + kTileQueries < n_queries && see(work, first + kTileQueries, block, block + kBlock) != 0;
    work.seeing[work.n_seeing++] = {first, is_pair, false};
    if (is_pair) first += kTileQueries;
  }
}

// As attend_segment.
template <typename Row>
inline void attend_segment_tiles(const AttentionArgs& args, const Tile& tile, int64_t start, int64_t end, BlockRows (&rows)[2],
                                 TileWorkspace& work) {
  const int64_t head_dim = args.kv.head_dim, n_queries = tile.n_tokens * tile.n_group;
  for (int64_t first = 0; first < n_queries; first += kTileQueries) {
    work.is_empty[first / kTileQueries] = true;
    Simd::store(work.peaks + first, Simd::set(-__builtin_inff()));
    Simd::store(work.sums + first, Simd::set(0.0f));
  }
  for (int64_t block = start; block < start + kAttentionSegment; block += kBlock) {
    BlockRows &now = rows[block / kBlock % 2], &next = rows[(block / kBlock + 1) % 2];
    next.seen = {0, 0};
    if (block + kBlock < end) find_block<Row>(args, tile, block + kBlock, next);
    if (now.seen.from >= now.seen.to) continue;
    const int64_t low = now.seen.from / kTileCols * kTileCols, high = (now.seen.to + kTileCols - 1) / kTileCols * kTileCols;
    find_seeing(n_queries, block, work);
    NextRows next_keys(next.k, next.seen, Row::size_bytes(head_dim), kNextLines);
    NextRows next_values(next.v, next.seen, Row::size_bytes(head_dim), kNextLines);
    const uint8_t* plain[kBlock];
    const auto keys = plain_rows<Row>(now.k, now.seen, head_dim, work.decoded);
    seen_rows(now.k, now.seen, low, high, plain);
    score_block(keys, plain, low, high, head_dim, next_keys, work);
    const auto values = plain_rows<Row>(now.v, now.seen, head_dim, work.decoded);
    seen_rows(now.v, now.seen, low, high, plain);
    take_out_odd(values, plain, low, high, head_dim, work);
    weigh_block(args, block, low, high, work);
    add_values(values, plain, low, high, head_dim, next_values, work);
    if (work.n_odd > 0) add_odd_values(block, head_dim, work);
  }
}

// Segments [from, to) for a tile. Without splits these are all and y is written; with splits they are left for arrive().
template <typename Row>
inline void attend_tile(const AttentionArgs& args, const Tile& tile, int64_t from, int64_t to, const Partials* partials, TileWorkspace& work) {
  const int64_t head_dim = args.kv.head_dim, n_queries = tile.n_tokens * tile.n_group;
  prepare_queries(args, tile, n_queries, work);
  BlockRows rows[2];
  const auto block_rows = [&](int64_t start) { return &rows[start / kBlock % 2]; };
  find_block<Row>(args, tile, from * kAttentionSegment, *block_rows(from * kAttentionSegment));
  for (int64_t segment = from; segment < to; ++segment) {
    const int64_t start = segment * kAttentionSegment, next = start + kAttentionSegment;
    if (!sees(tile.all, start)) {
      find_block<Row>(args, tile, next, *block_rows(next));
      continue;
    }
    attend_segment_tiles<Row>(args, tile, start, to * kAttentionSegment, rows, work);
    for (int64_t first = 0; first < n_queries; first += kTileQueries) {
      const __mmask16 seeing = see(work, first, start, start + kAttentionSegment);
      if (seeing == 0) continue;
      if (partials != nullptr)
        leave_segment(tile, *partials, segment, first, seeing, head_dim, work);
      else
        join_segment(first, seeing, head_dim, work);
    }
  }
  if (partials == nullptr) finish_queries(args, tile, n_queries, work);
}

// A split of tokens [token, token + n_tokens) of prompts, in tiles of one sequence each.
template <typename Row>
inline void attend_prompts(const AttentionArgs& args, const Partials& partials, int64_t kv_head, int64_t split, int64_t token,
                           int64_t n_tokens) {
  TileWorkspace work;
  const TileRegisters tiles;
  const int64_t n_group = args.n_heads / args.kv.n_kv_heads, head_dim = args.kv.head_dim, end = token + n_tokens;
  const int64_t fitting = kMostTileElems / head_dim / kTileQueries * kTileQueries;
  const int64_t max_tokens = (fitting < kMostTileQueries ? fitting : kMostTileQueries) / n_group;
  for (int64_t n; token < end; token += n) {
    n = of_one_sequence(args, token, end - token < max_tokens ? end - token : max_tokens);
    attend_tile<Row>(args, Tile{kv_head, token, n, n_group, visible_to_any(args, token, n)}, partials.begin(split),
                     partials.begin(split + 1), args.n_splits > 1 ? &partials : nullptr, work);
    if (args.n_splits > 1) arrive(args, partials, kv_head, token, n, work.totals);
  }
}

// kSingle: the kernel of the tokens before the prompts', which see no more segments than the step does: what its splits leave in
// the scratch lies before that of the prompts.
template <typename Row, void (*kSingle)(const AttentionArgs&, RowRange)>
inline void attention_tiles(const AttentionArgs& args, RowRange range) {
  const int64_t n_tokens = args.q.n_rows, n_single = n_tokens - args.n_prompt;
  AttentionArgs single = args;
  single.y.n_rows = single.q.n_rows = n_single;
  single.n_prompt = 0;
  const Partials partials(args);
  for (int64_t unit = range.from, n; unit < range.to; unit += n) {
    const int64_t of_head = unit / n_tokens, token = unit % n_tokens, end = token < n_single ? n_single : n_tokens;
    n = end - token < range.to - unit ? end - token : range.to - unit;
    if (token < n_single)
      kSingle(single, {of_head * n_single + token, of_head * n_single + token + n});
    else
      attend_prompts<Row>(args, partials, of_head / args.n_splits, of_head % args.n_splits, token, n);
  }
}

}  // namespace
}  // namespace olx::kernels::cpu
