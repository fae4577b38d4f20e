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
// Order of sums: online softmax over blocks of kBlock positions counted from position 0, within them steps of 32. It is one and
// the same for a token, whoever shares its tile: a position it does not see weighs 0 and adds 0, for what is no finite number is
// taken out of V and added by itself to those that see it.

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
  alignas(64) float outputs[kMostTileElems];                       // [query tile][head_dim][query]
  alignas(64) float decoded[kBlock * kMaxHeadDim];                 // rows of a cache that is not plain
  alignas(64) float peaks[kMostTileQueries], sums[kMostTileQueries], rescale[2 * kTileQueries];
  alignas(64) int32_t from[kMostTileQueries], to[kMostTileQueries];  // positions a query sees; none: a lane without one
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

// Queries of a work tile, what they see, and empty outputs.
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
      work.peaks[q] = -__builtin_inff();
      work.sums[q] = 0.0f;
    }
    float* outputs = work.outputs + first * head_dim;
    for (int64_t i = 0; i < kTileQueries * head_dim; i += Simd::kLanes) Simd::store(outputs + i, Simd::set(0.0f));
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

// Positions [low, high) of a block, multiples of 32, of which those outside `seen` are 0.
template <typename Row>
inline void prepare_keys(Row, const uint8_t* const* rows, Span seen, int64_t low, int64_t high, int64_t head_dim, uint8_t* keys) {
  const int64_t n_steps = head_dim / kTileCols;
  for (int64_t p = low; p < high; ++p) {
    const bool is_seen = p >= seen.from && p < seen.to;
    uint8_t* to = keys + p / 16 * n_steps * kFactorBytes + p % 16 * 64;
    for (int64_t d = 0; d < head_dim; d += kTileCols, to += kFactorBytes) {
      const Halves a = split(is_seen ? Row::load(rows[p], d) : Simd::set(0.0f));
      const Halves b = split(is_seen ? Row::load(rows[p], d + 16) : Simd::set(0.0f));
      _mm512_store_si512(to, reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(b.high, a.high)));
      _mm512_store_si512(to + kTileBytes, reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(b.low, a.low)));
    }
  }
}

template <typename Row>
inline bool is_finite(const uint8_t* row, int64_t head_dim) {
  const __m512i exponent = _mm512_set1_epi32(0x7f800000);
  __mmask16 has_other = 0;
  for (int64_t d = 0; d < head_dim; d += 16) {
    const __m512i bits = _mm512_castps_si512(Row::load(row, d));
    has_other |= _mm512_cmpeq_epi32_mask(_mm512_and_si512(bits, exponent), exponent);
  }
  return has_other == 0;
}

// As prepare_keys, transposed; rows with what is no finite number are 0 too, and kept beside.
template <typename Row>
inline void prepare_values(Row, const uint8_t* const* rows, Span seen, int64_t low, int64_t high, int64_t head_dim, TileWorkspace& work) {
  const uint8_t* finite[kBlock];
  work.n_odd = 0;
  for (int64_t p = low; p < high; ++p) {
    finite[p] = p >= seen.from && p < seen.to ? rows[p] : nullptr;
    if (finite[p] == nullptr || is_finite<Row>(rows[p], head_dim)) continue;
    finite[p] = nullptr;
    float* values = work.odd_values + work.n_odd * head_dim;
    for (int64_t d = 0; d < head_dim; d += Simd::kLanes) Simd::store(values + d, Row::load(rows[p], d));
    work.odd[work.n_odd++] = static_cast<int>(p);
  }
  for (int64_t d = 0; d < head_dim; d += 16)
    for (int64_t first = low; first < high; first += kTileCols) {
      uint8_t* to = work.values + (d / 16 * kBlockSteps + first / kTileCols) * kFactorBytes;
      F high_pairs[16], low_pairs[16];
#pragma GCC unroll 16
      for (int i = 0; i < 16; ++i) {
        const uint8_t *even = finite[first + 2 * i], *odd = finite[first + 2 * i + 1];
        const Halves a = split(even != nullptr ? Row::load(even, d) : Simd::set(0.0f));
        const Halves b = split(odd != nullptr ? Row::load(odd, d) : Simd::set(0.0f));
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
  for (int i = 0; i < kQueryTiles; ++i) {
    float* rescale = work.rescale + i * kTileQueries;
    weigh_scores(args, block, low, high, first + i * kTileQueries, work.scores + i * kBlock * kTileQueries, rescale,
                 work.weights + i * kBlockSteps * kFactorBytes, work);
    rescale_outputs(rescale, head_dim, outputs + i * kTileQueries * head_dim);
  }
  publish(&work);
  const int64_t first_step = low / kTileCols;
  for (int64_t d = 0; d < head_dim; d += 32)
    multiply_factors<kQueryTiles>(work.values + (d / 16 * kBlockSteps + first_step) * kFactorBytes, kBlockSteps * kFactorBytes,
                                  work.weights + first_step * kFactorBytes, kBlockSteps * kFactorBytes, (high - low) / kTileCols,
                                  false, outputs + d * kTileQueries, kTileQueries * head_dim);
  publish(&work);
  if (work.n_odd == 0) return;
  for (int i = 0; i < kQueryTiles; ++i)
    add_odd_values(work, block, first + i * kTileQueries, work.scores + i * kBlock * kTileQueries, head_dim,
                   outputs + i * kTileQueries * head_dim);
}

// Sinks, the division by the sums, and the outputs to y.
inline void finish_queries(const AttentionArgs& args, const Tile& tile, int64_t n_queries, TileWorkspace& work) {
  const int64_t head_dim = args.kv.head_dim;
  for (int64_t first = 0; first < n_queries; first += kTileQueries) {
    F factor = Simd::set(1.0f), sum = Simd::load(work.sums + first);
    if (args.sinks) {
      alignas(64) float sinks[kTileQueries];
      for (int64_t i = 0; i < kTileQueries; ++i) sinks[i] = args.sinks[tile.kv_head * tile.n_group + (first + i) % tile.n_group];
      const F sink = Simd::load(sinks), peak = Simd::load(work.peaks + first), highest = Simd::max(sink, peak);
      factor = exp(Simd::sub(peak, highest));
      sum = Simd::fma(sum, factor, exp(Simd::sub(sink, highest)));
    }
    factor = Simd::div(factor, sum);
    for (int64_t d = 0; d < head_dim; d += Simd::kLanes) {
      F x[kTileQueries];
      for (int i = 0; i < kTileQueries; ++i) x[i] = Simd::mul(Simd::load(work.outputs + first * head_dim + (d + i) * kTileQueries), factor);
      Simd::transpose(x);
      for (int64_t i = 0; i < kTileQueries && first + i < n_queries; ++i) {
        const int64_t q = first + i, head = tile.kv_head * tile.n_group + q % tile.n_group;
        Simd::store(args.y.row(tile.token + q / tile.n_group) + head * head_dim + d, x[i]);
      }
    }
  }
}

template <typename Row>
inline void attend_tile(const AttentionArgs& args, const Tile& tile, TileWorkspace& work) {
  const int64_t head_dim = args.kv.head_dim, n_queries = tile.n_tokens * tile.n_group;
  prepare_queries(args, tile, n_queries, work);
  for (int64_t block = tile.all.from / kBlock * kBlock; block < tile.all.to; block += kBlock) {
    BlockRows rows;
    find_block<Row>(args, tile, block, rows);
    const int64_t low = rows.seen.from / kTileCols * kTileCols, high = (rows.seen.to + kTileCols - 1) / kTileCols * kTileCols;
    prepare_keys(plain_rows<Row>(rows.k, rows.seen, head_dim, work.decoded), rows.k, rows.seen, low, high, head_dim, work.keys);
    prepare_values(plain_rows<Row>(rows.v, rows.seen, head_dim, work.decoded), rows.v, rows.seen, low, high, head_dim, work);
    publish(&work);
    const auto sees_some = [&](int64_t first) {
      const __m512i start = _mm512_set1_epi32(static_cast<int32_t>(block)), end = _mm512_set1_epi32(static_cast<int32_t>(block + kBlock));
      return (_mm512_cmplt_epi32_mask(_mm512_load_si512(work.from + first), end) &
              _mm512_cmpgt_epi32_mask(_mm512_load_si512(work.to + first), start)) != 0;
    };
    for (int64_t first = 0; first < n_queries;) {
      if (!sees_some(first)) {
        first += kTileQueries;
      } else if (first + kTileQueries < n_queries && sees_some(first + kTileQueries)) {
        attend_block<2>(args, block, low, high, first, work);
        first += 2 * kTileQueries;
      } else {
        attend_block<1>(args, block, low, high, first, work);
        first += kTileQueries;
      }
    }
  }
  finish_queries(args, tile, n_queries, work);
}

// Tokens [token, token + n_tokens) of prompts, in tiles of one sequence each.
template <typename Row>
inline void attend_prompts(const AttentionArgs& args, int64_t kv_head, int64_t token, int64_t n_tokens) {
  TileWorkspace work;
  const TileRegisters tiles;
  const int64_t n_group = args.n_heads / args.kv.n_kv_heads, head_dim = args.kv.head_dim, end = token + n_tokens;
  const int64_t fitting = kMostTileElems / head_dim / kTileQueries * kTileQueries;
  const int64_t max_tokens = (fitting < kMostTileQueries ? fitting : kMostTileQueries) / n_group;
  for (int64_t n; token < end; token += n) {
    n = of_one_sequence(args, token, end - token < max_tokens ? end - token : max_tokens);
    attend_tile<Row>(args, Tile{kv_head, token, n, n_group, visible_to_any(args, token, n)}, work);
  }
}

// kSingle: the kernel of the tokens before the prompts'. A prompt's context is not divided: its first split does the work of all.
template <typename Row, void (*kSingle)(const AttentionArgs&, RowRange)>
inline void attention_tiles(const AttentionArgs& args, RowRange range) {
  const int64_t n_tokens = args.q.n_rows, n_single = n_tokens - args.n_prompt;
  AttentionArgs single = args;
  single.y.n_rows = single.q.n_rows = n_single;
  single.n_prompt = 0;
  for (int64_t unit = range.from, n; unit < range.to; unit += n) {
    const int64_t of_head = unit / n_tokens, token = unit % n_tokens, end = token < n_single ? n_single : n_tokens;
    n = end - token < range.to - unit ? end - token : range.to - unit;
    if (token < n_single)
      kSingle(single, {of_head * n_single + token, of_head * n_single + token + n});
    else if (of_head % args.n_splits == 0)
      attend_prompts<Row>(args, of_head / args.n_splits, token, n);
  }
}

}  // namespace
}  // namespace olx::kernels::cpu
