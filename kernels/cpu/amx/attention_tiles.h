#pragma once
// Attention of the tokens of prompts on AMX tiles (tiles.h); those that are made one at a time go to the kernel of AVX-512.
// Include simd.h of AVX-512, rowwise/elementwise.h and rowwise/attention.h before. Internal linkage.
//
// Every factor is two bfloat16: the nearest one and the nearest to what that leaves, 16 bits together, exact for what an f16
// cache holds. Three of the four products are added, the fourth is below 2^-16 of the first: the result is within the bounds of
// f32. Measured: a prompt twice as fast as with f32 vectors.
//
// A lane is a query, from the scores to the output: S^T = K Q^T, softmax down the positions, O^T = V^T P^T. So K is taken as it
// lies, V is transposed once for all queries of a work tile, peaks and sums are vectors and need no sums across lanes.
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

// The memory of one thread while it works on a tile: on its stack. Factors are tiles in the order named, term by term.
struct TileWorkspace {
  alignas(64) uint8_t queries[kMostTileElems * 2 * kTerms];        // [query tile][step of head_dim], scaled
  alignas(64) uint8_t keys[kBlock * kMaxHeadDim * 2 * kTerms];     // [16 positions][step of head_dim]
  alignas(64) uint8_t values[kBlock * kMaxHeadDim * 2 * kTerms];   // [16 of head_dim][step of positions]
  alignas(64) uint8_t weights[2 * kBlockSteps * kFactorBytes];     // [query tile of a pair][step of positions]
  alignas(64) float scores[2 * kBlock * kTileQueries];             // [query tile of a pair][position][query]
  alignas(64) float outputs[kMostTileElems];                       // [query tile][head_dim][query], of the segment
  alignas(64) float totals[kMostTileElems];                        // of the segments before it
  alignas(64) float decoded[kBlock * kMaxHeadDim];                 // rows of a cache that is not plain
  alignas(64) float peaks[kMostTileQueries], sums[kMostTileQueries], rescale[2 * kTileQueries];  // of the segment
  alignas(64) float total_peaks[kMostTileQueries], total_sums[kMostTileQueries];
  alignas(64) int32_t from[kMostTileQueries], to[kMostTileQueries];  // positions a query sees; none: a lane without one
  bool is_empty[kMostTileQueries / kTileQueries];                    // no block of the segment is in the outputs of a query tile
  int n_odd;                     // rows of V in this block that hold what is no finite number
  int odd[kBlock];               // their positions
  alignas(64) float odd_values[kBlock * kMaxHeadDim];  // their elements
};

struct Halves {
  F high, low;
};
inline Halves split(F x) {
  const __m512i near = _mm512_add_epi32(_mm512_castps_si512(x), _mm512_set1_epi32(0x8000));
  const F high = _mm512_castsi512_ps(_mm512_and_epi32(near, _mm512_set1_epi32(static_cast<int32_t>(0xffff0000))));
  return {high, _mm512_sub_ps(x, high)};
}
inline __m512i exact_pairs(F even, F odd) {  // of numbers that are bfloat16
  return _mm512_or_si512(_mm512_srli_epi32(_mm512_castps_si512(even), 16), _mm512_castps_si512(odd));
}
inline void store_pairs(uint8_t* to, F even, F odd) {
  const Halves a = split(even), b = split(odd);
  _mm512_store_si512(to, exact_pairs(a.high, b.high));
  _mm512_store_si512(to + kTileBytes, bf16_pairs(a.low, b.low));
}

// 32 numbers, a and b, to a row of a tile of each term.
inline void store_halves(uint8_t* to, Halves a, Halves b) {
  _mm512_store_si512(to, reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(b.high, a.high)));
  _mm512_store_si512(to + kTileBytes, reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(b.low, a.low)));
}

// sums[2][kQueryTiles] of tiles a[2] times b[kQueryTiles], each [step][term]. A tile of sums is 256 numbers behind the one before
// it, sums_stride numbers for the next of b. Tiles 0..3: sums, 4 and 5: a, 6 and 7: b.
template <int kQueryTiles>
inline void multiply_factors(const uint8_t* a, int64_t a_stride, const uint8_t* b, int64_t b_stride, int64_t n_steps, bool is_first,
                             float* sums, int64_t sums_stride) {
  load_sums<true, (kQueryTiles > 1)>(sums, sums_stride, is_first);
  const auto multiply = [] {
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 5, 6);
    if constexpr (kQueryTiles > 1) _tile_dpbf16ps(2, 4, 7);
    if constexpr (kQueryTiles > 1) _tile_dpbf16ps(3, 5, 7);
  };
  for (int64_t step = 0; step < n_steps; ++step, a += kFactorBytes, b += kFactorBytes) {
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
  store_sums<true, (kQueryTiles > 1)>(sums, sums_stride);
}

// Queries of a work tile, what they see, and that nothing is summed yet.
inline void prepare_queries(const AttentionArgs& args, const Tile& tile, int64_t n_queries, TileWorkspace& work) {
  const int64_t head_dim = args.kv.head_dim, n_steps = head_dim / kTileCols;
  for (int64_t first = 0; first < n_queries; first += kTileQueries) {
    uint8_t* tiles = work.queries + first / kTileQueries * n_steps * kFactorBytes;
    for (int64_t d = 0; d < head_dim; d += Simd::kLanes) {
      F x[kTileQueries];
      for (int64_t i = 0; i < kTileQueries; ++i) {
        const int64_t q = first + i, head = tile.kv_head * tile.n_group + q % tile.n_group;
        x[i] = q < n_queries ? Simd::load(args.q.row(tile.token + q / tile.n_group) + head * head_dim + d) : Simd::set(0.0f);
        x[i] = Simd::mul(x[i], Simd::set(args.scale));
      }
      Simd::transpose(x);
      uint8_t* to = tiles + d / kTileCols * kFactorBytes + d % kTileCols / 2 * 64;
      for (int i = 0; i < kTileQueries; i += 2) store_pairs(to + i / 2 * 64, x[i], x[i + 1]);
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

// Keys or values of the next block, fetched to the second cache level while those of this one are prepared.
struct NextRows {
  const uint8_t* const* rows;
  Span seen;
  int64_t row_bytes;
  void fetch(int64_t p) const {
    if (p < seen.from || p >= seen.to) return;
    for (int64_t i = 0; i < row_bytes; i += 64) fetch_to_second_level(rows[p] + i);
  }
};

// Positions [low, high) of a block, multiples of 32, of which those outside `seen` are 0.
template <typename Row>
inline void prepare_keys(Row, const uint8_t* const* rows, Span seen, int64_t low, int64_t high, int64_t head_dim, const NextRows& next,
                         uint8_t* keys) {
  const int64_t n_steps = head_dim / kTileCols;
  for (int64_t p = 0; p < kBlock; ++p) {
    next.fetch(p);
    if (p < low || p >= high) continue;
    const uint8_t* row = p >= seen.from && p < seen.to ? rows[p] : kZeros;
    uint8_t* to = keys + p / 16 * n_steps * kFactorBytes + p % 16 * 64;
    for (int64_t d = 0; d < head_dim; d += kTileCols, to += kFactorBytes)
      store_halves(to, split(Row::load(row, d)), split(Row::load(row, d + 16)));
  }
}

template <typename Row>
inline bool is_finite(const uint8_t* row, int64_t head_dim) {
  const __m512i exponent = _mm512_set1_epi32(0x7f800000);
  __mmask16 has_other = 0;
  for (int64_t d = 0; d < head_dim; d += 16)
    has_other |= _mm512_cmpeq_epi32_mask(_mm512_and_si512(_mm512_castps_si512(Row::load(row, d)), exponent), exponent);
  return has_other == 0;
}
template <>
inline bool is_finite<RowF16>(const uint8_t* row, int64_t head_dim) {
  const __m512i exponent = _mm512_set1_epi16(0x7c00);
  __mmask32 has_other = 0;
  for (int64_t d = 0; d < head_dim; d += 32)
    has_other |= _mm512_cmpeq_epi16_mask(_mm512_and_si512(_mm512_loadu_si512(row + 2 * d), exponent), exponent);
  return has_other == 0;
}

// Elements [d, d + 16) of 32 rows as a tile of each term: row i of it holds element d + i of them all.
template <typename Row>
inline void transpose_values(const uint8_t* const* rows, int64_t d, uint8_t* to) {
  F high_pairs[16], low_pairs[16];
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) {
    const Halves a = split(Row::load(rows[2 * i], d)), b = split(Row::load(rows[2 * i + 1], d));
    high_pairs[i] = _mm512_castsi512_ps(exact_pairs(a.high, b.high));
    low_pairs[i] = _mm512_castsi512_ps(bf16_pairs(a.low, b.low));
  }
  Simd::transpose(high_pairs);
  Simd::transpose(low_pairs);
  for (int i = 0; i < 16; ++i) {
    _mm512_store_ps(to + 64 * i, high_pairs[i]);
    _mm512_store_ps(to + kTileBytes + 64 * i, low_pairs[i]);
  }
}

// Half the shuffles: f16 are put in pairs and transposed before they are taken apart.
template <>
inline void transpose_values<RowF16>(const uint8_t* const* rows, int64_t d, uint8_t* to) {
  const __m512i pair = _mm512_setr_epi32(0x100000, 0x110001, 0x120002, 0x130003, 0x140004, 0x150005, 0x160006, 0x170007, 0x180008, 0x190009,
                                         0x1a000a, 0x1b000b, 0x1c000c, 0x1d000d, 0x1e000e, 0x1f000f);
  F pairs[16];
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) {
    const auto half = [&](int64_t row) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(rows[row] + 2 * d)); };
    const __m512i both = _mm512_inserti64x4(_mm512_castsi256_si512(half(2 * i)), half(2 * i + 1), 1);
    pairs[i] = _mm512_castsi512_ps(_mm512_permutexvar_epi16(pair, both));
  }
  Simd::transpose(pairs);
  for (int i = 0; i < 16; ++i) {
    const __m512i x = _mm512_castps_si512(pairs[i]);
    store_halves(to + 64 * i, split(_mm512_cvtph_ps(_mm512_castsi512_si256(x))), split(_mm512_cvtph_ps(_mm512_extracti64x4_epi64(x, 1))));
  }
}

// As prepare_keys, transposed; rows with what is no finite number are 0 too, and kept beside.
template <typename Row>
inline void prepare_values(Row, const uint8_t* const* rows, Span seen, int64_t low, int64_t high, int64_t head_dim, const NextRows& next,
                           TileWorkspace& work) {
  const uint8_t* finite[kBlock];
  work.n_odd = 0;
  for (int64_t p = low; p < high; ++p) {
    finite[p] = p >= seen.from && p < seen.to ? rows[p] : kZeros;
    if (is_finite<Row>(finite[p], head_dim)) continue;
    finite[p] = kZeros;
    float* values = work.odd_values + work.n_odd * head_dim;
    for (int64_t d = 0; d < head_dim; d += Simd::kLanes) Simd::store(values + d, Row::load(rows[p], d));
    work.odd[work.n_odd++] = static_cast<int>(p);
  }
  for (int64_t p = 0; p < kBlock; ++p) next.fetch(p);
  for (int64_t first = low; first < high; first += kTileCols)
    for (int64_t d = 0; d < head_dim; d += 16)
      transpose_values<Row>(finite + first, d, work.values + (d / 16 * kBlockSteps + first / kTileCols) * kFactorBytes);
}

// Scores [position][query] of positions [low, high) of a block -> weights, peaks and sums; rescales the outputs where a peak has
// risen. first: the tile's first query.
inline void weigh_scores(const AttentionArgs& args, int64_t block, int64_t low, int64_t high, int64_t first, float* scores, float* rescale,
                         uint8_t* weights, TileWorkspace& work) {
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
  Simd::store(rescale, factor);
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
}

inline void rescale_outputs(const float* rescale, int64_t head_dim, float* outputs) {
  const F factor = Simd::load(rescale);
  if (_mm512_cmp_ps_mask(factor, Simd::set(1.0f), _CMP_NEQ_UQ) == 0) return;
  for (int64_t d = 0; d < head_dim; ++d) Simd::store(outputs + d * kTileQueries, Simd::mul(Simd::load(outputs + d * kTileQueries), factor));
}

// The rows of V that prepare_values has taken out.
[[gnu::noinline]] void add_odd_values(const TileWorkspace& work, int64_t block, int64_t first, const float* weights, int64_t head_dim,
                                      float* outputs) {
  for (int i = 0; i < work.n_odd; ++i) {
    const __m512i position = _mm512_set1_epi32(static_cast<int32_t>(block + work.odd[i]));
    const __mmask16 sees_it = _mm512_cmple_epi32_mask(_mm512_load_si512(work.from + first), position) &
                              _mm512_cmplt_epi32_mask(position, _mm512_load_si512(work.to + first));
    const F weight = Simd::load(weights + work.odd[i] * kTileQueries);
    for (int64_t d = 0; d < head_dim; ++d) {
      float* at = outputs + d * kTileQueries;
      Simd::store(at, _mm512_mask3_fmadd_ps(weight, Simd::set(work.odd_values[i * head_dim + d]), Simd::load(at), sees_it));
    }
  }
}

// The query tiles at `first`, one or two, over positions [low, high) of a block.
template <int kQueryTiles>
inline void attend_block(const AttentionArgs& args, int64_t block, int64_t low, int64_t high, int64_t first, TileWorkspace& work) {
  const int64_t head_dim = args.kv.head_dim, n_steps = head_dim / kTileCols;
  const uint8_t* queries = work.queries + first / kTileQueries * n_steps * kFactorBytes;
  for (int64_t p = low; p < high; p += kTileCols)
    multiply_factors<kQueryTiles>(work.keys + p / 16 * n_steps * kFactorBytes, n_steps * kFactorBytes, queries, n_steps * kFactorBytes,
                                  n_steps, true, work.scores + p * kTileQueries, kBlock * kTileQueries);
  publish(&work);
  float* outputs = work.outputs + first * head_dim;
  bool* is_empty = work.is_empty + first / kTileQueries;
  const bool is_first = is_empty[0] && is_empty[kQueryTiles - 1];
  for (int i = 0; i < kQueryTiles; ++i) {
    float *rescale = work.rescale + i * kTileQueries, *of_tile = outputs + i * kTileQueries * head_dim;
    weigh_scores(args, block, low, high, first + i * kTileQueries, work.scores + i * kBlock * kTileQueries, rescale,
                 work.weights + i * kBlockSteps * kFactorBytes, work);
    if (!is_first && is_empty[i])
      for (int64_t at = 0; at < kTileQueries * head_dim; at += Simd::kLanes) Simd::store(of_tile + at, Simd::set(0.0f));
    else if (!is_first)
      rescale_outputs(rescale, head_dim, of_tile);
    is_empty[i] = false;
  }
  publish(&work);
  const int64_t first_step = low / kTileCols;
  for (int64_t d = 0; d < head_dim; d += 32)
    multiply_factors<kQueryTiles>(work.values + (d / 16 * kBlockSteps + first_step) * kFactorBytes, kBlockSteps * kFactorBytes,
                                  work.weights + first_step * kFactorBytes, kBlockSteps * kFactorBytes, (high - low) / kTileCols,
                                  is_first, outputs + d * kTileQueries, kTileQueries * head_dim);
  publish(&work);
  if (work.n_odd == 0) return;
  for (int i = 0; i < kQueryTiles; ++i)
    add_odd_values(work, block, first + i * kTileQueries, work.scores + i * kBlock * kTileQueries, head_dim,
                   outputs + i * kTileQueries * head_dim);
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
    const int64_t row_bytes = Row::size_bytes(head_dim);
    prepare_keys(plain_rows<Row>(now.k, now.seen, head_dim, work.decoded), now.k, now.seen, low, high, head_dim,
                 NextRows{next.k, next.seen, row_bytes}, work.keys);
    prepare_values(plain_rows<Row>(now.v, now.seen, head_dim, work.decoded), now.v, now.seen, low, high, head_dim,
                   NextRows{next.v, next.seen, row_bytes}, work);
    publish(&work);
    for (int64_t first = 0; first < n_queries;) {
      if (see(work, first, block, block + kBlock) == 0) {
        first += kTileQueries;
      } else if (first + kTileQueries < n_queries && see(work, first + kTileQueries, block, block + kBlock) != 0) {
        attend_block<2>(args, block, low, high, first, work);
        first += 2 * kTileQueries;
      } else {
        attend_block<1>(args, block, low, high, first, work);
        first += kTileQueries;
      }
    }
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
