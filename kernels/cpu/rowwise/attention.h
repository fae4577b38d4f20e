#pragma once
// Attention over cache pages, written once over Simd (include simd.h and elementwise.h before).
// Internal linkage.
//
// Consecutive tokens of a sequence and the query heads of one kv head share a tile: K and V are
// decoded once for all of them. K is transposed while it is decoded, so that a vector holds scores
// of as many positions as it has lanes, each one chain of multiply-adds over head_dim; then P V is
// accumulated with rows of V as vectors, in order of position. A few queries read V where it is.
//
// One order of sums for every token, whoever shares its tile and however the work is divided, so
// that a token gets the same bits alone, in a draft and in any chunk of a prompt: online softmax
// over blocks of kBlock positions within a segment of kAttentionSegment, both counted from position
// 0; then the segments, in order. Tile borders, splits and threads only decide who adds. What lies
// outside a token's span is not added, not even with weight 0, for it may be no number. A split
// leaves its segments in args.scratch, and the last split of a (kv head, token) to arrive joins
// them all, in order.

#include <cstdint>

#include "kernels/api/args.h"
#include "kernels/cpu/rowwise/limits.h"

namespace olx::kernels::cpu {
namespace {

constexpr int64_t kBlock = 64;  // positions scored together; divides kAttentionSegment
constexpr int64_t kQueryTile = Simd::kRegisters >= 32 ? 4 : 2;  // queries and vectors of a register tile
constexpr int64_t kVectorTile = 4;
constexpr int64_t kFewQueries = 2 * kQueryTile;  // of a tile: decoding V for them costs more than it saves
static_assert(kBlock % (kVectorTile * Simd::kLanes) == 0 && kAttentionSegment % kBlock == 0);

// Cached rows of head_dim elements. kIsPlain: load() reads the vector of elements from i on.
struct RowF32 {
  static constexpr bool kIsPlain = true;
  static constexpr int64_t size_bytes(int64_t n) { return 4 * n; }
  static F load(const uint8_t* row, int64_t i) {
    return Simd::load(reinterpret_cast<const float*>(row) + i);
  }
  static void decode(const uint8_t* row, float* x, int64_t n) {
    for (int64_t i = 0; i < n; i += Simd::kLanes) Simd::store(x + i, load(row, i));
  }
};
struct RowF16 {
  static constexpr bool kIsPlain = true;
  static constexpr int64_t size_bytes(int64_t n) { return 2 * n; }
  static F load(const uint8_t* row, int64_t i) {
    return Simd::load_f16(reinterpret_cast<const uint16_t*>(row) + i);
  }
  static void decode(const uint8_t* row, float* x, int64_t n) {
    for (int64_t i = 0; i < n; i += Simd::kLanes) Simd::store(x + i, load(row, i));
  }
};
struct RowQ8_0 {
  static constexpr bool kIsPlain = false;
  static constexpr int64_t size_bytes(int64_t n) { return n / 32 * 34; }
  static void decode(const uint8_t* block, float* x, int64_t n) {
    for (int64_t b = 0; b < n; b += 32, block += 34) {
      uint16_t bits;
      __builtin_memcpy(&bits, block, 2);
      const F d = Simd::set(Simd::f16_to_f32(bits));
      for (int64_t i = 0; i < 32; i += Simd::kLanes)
        Simd::store(x + b + i, Simd::mul(d, Simd::load_i8(reinterpret_cast<const int8_t*>(block + 2) + i)));
    }
  }
};

struct Span {  // positions a token sees: [from, to)
  int64_t from;
  int64_t to;
};
inline Span visible(const AttentionArgs& args, int64_t token) {
  const int64_t position = args.tokens[token].position;
  const int64_t from = args.sliding_window > 0 && position - args.sliding_window + 1 > 0 ? position - args.sliding_window + 1 : 0;
  return {from, position + 1};
}

inline Span visible_to_any(const AttentionArgs& args, int64_t token, int64_t n_tokens) {
  Span any = visible(args, token);
  for (int64_t t = 1; t < n_tokens; ++t) {
    const Span span = visible(args, token + t);
    any.from = span.from < any.from ? span.from : any.from;
    any.to = span.to > any.to ? span.to : any.to;
  }
  return any;
}
// How many tokens from `token` on, of `most`, are of its sequence, one behind the other.
inline int64_t of_one_sequence(const AttentionArgs& args, int64_t token, int64_t most) {
  int64_t n = 1;
  while (n < most && args.tokens[token + n].sequence == args.tokens[token].sequence) ++n;
  return n;
}

// rows[i] = the cached row of position `from` + i, i < n. Divides once a page, not once a position.
template <typename Row>
inline void find_rows(const void* base, const AttentionArgs& args, int64_t sequence, int64_t kv_head, int64_t from, int64_t n,
                      const uint8_t** rows) {
  const KvView& kv = args.kv;
  const int64_t row_bytes = Row::size_bytes(kv.head_dim);
  for (int64_t i = 0; i < n;) {
    const int64_t page = kv.block_table[sequence * kv.max_blocks + (from + i) / kv.page_tokens];
    int64_t at = (from + i) % kv.page_tokens;
    const uint8_t* row = static_cast<const uint8_t*>(base) + ((page * kv.n_kv_heads + kv_head) * kv.page_tokens + at) * row_bytes;
    for (; at < kv.page_tokens && i < n; ++at, ++i, row += row_bytes) rows[i] = row;
  }
}

// Softmax state of one query over some positions: the outputs beside it are sums of weight times value, weights
// relative to the peak.
struct Online {
  float peak = -__builtin_inff();
  float sum = 0.0f;
};

// Scores of queries over [from, to) of a block, [kQueries][kBlock] -> weights in place; rescale: what the outputs so far must
// be multiplied with. What is beside them in their vectors is overwritten. Several queries at once, for each alone waits for
// its sums.
template <int kQueries>
inline void block_softmax(const AttentionArgs& args, float* scores, int64_t from, int64_t to, Online* states, float* rescale) {
  const int64_t low = from / Simd::kLanes * Simd::kLanes, high = (to + Simd::kLanes - 1) / Simd::kLanes * Simd::kLanes;
  if (args.softcap > 0.0f) {
    const F cap = Simd::set(args.softcap), inverse = Simd::set(1.0f / args.softcap);
    for (int64_t i = low; i < high; i += Simd::kLanes)
      for (int q = 0; q < kQueries; ++q) {
        float* at = scores + q * kBlock + i;
        Simd::store(at, Simd::mul(cap, tanh(Simd::mul(Simd::load(at), inverse))));
      }
  }
  F largest[kQueries], peaks[kQueries], sums[kQueries];
#pragma GCC unroll 4
  for (int q = 0; q < kQueries; ++q) {
    for (int64_t i = low; i < from; ++i) scores[q * kBlock + i] = -__builtin_inff();
    for (int64_t i = to; i < high; ++i) scores[q * kBlock + i] = -__builtin_inff();
    largest[q] = Simd::load(scores + q * kBlock + low);
    sums[q] = Simd::set(0.0f);
  }
  for (int64_t i = low + Simd::kLanes; i < high; i += Simd::kLanes)
#pragma GCC unroll 4
    for (int q = 0; q < kQueries; ++q) largest[q] = Simd::max(Simd::load(scores + q * kBlock + i), largest[q]);
  float peak[kQueries];
#pragma GCC unroll 4
  for (int q = 0; q < kQueries; ++q) {
    const float block_peak = Simd::largest(largest[q]);
    peak[q] = block_peak > states[q].peak ? block_peak : states[q].peak;
    peaks[q] = Simd::set(peak[q]);
  }
  for (int64_t i = low; i < high; i += Simd::kLanes)
#pragma GCC unroll 4
    for (int q = 0; q < kQueries; ++q) {
      const F weight = exp(Simd::sub(Simd::load(scores + q * kBlock + i), peaks[q]));
      Simd::store(scores + q * kBlock + i, weight);
      sums[q] = Simd::add(sums[q], weight);
    }
#pragma GCC unroll 4
  for (int q = 0; q < kQueries; ++q) {
    Online& state = states[q];
    rescale[q] = state.sum > 0.0f ? 1.0f : 0.0f;
    if (state.sum > 0.0f && peak[q] != state.peak) {  // rare after a few blocks
      float factor[Simd::kLanes];
      Simd::store(factor, exp(Simd::set(state.peak - peak[q])));
      rescale[q] = factor[0];
    }
    state.sum = state.sum * rescale[q] + Simd::sum(sums[q]);
    state.peak = peak[q];
  }
}

// Two states as one, a lane a query: what each one's outputs are multiplied with before they are added, `b`'s product first.
struct Joined {
  F peak, sum, of_a, of_b;
};
inline Joined join_states(F a_peak, F a_sum, F b_peak, F b_sum) {
  const F peak = Simd::max(a_peak, b_peak), of_a = exp(Simd::sub(a_peak, peak)), of_b = exp(Simd::sub(b_peak, peak));
  return {peak, Simd::fma(a_sum, of_a, Simd::mul(b_sum, of_b)), of_a, of_b};
}

// Adds the positions of `b` to those of `a`, which come before: the only way two segments are joined.
inline void join(Online& a, float* a_output, Online b, const float* b_output, int64_t head_dim) {
  if (a.sum == 0.0f) {
    a = b;
    for (int64_t i = 0; i < head_dim; i += Simd::kLanes) Simd::store(a_output + i, Simd::load(b_output + i));
    return;
  }
  const Joined both = join_states(Simd::set(a.peak), Simd::set(a.sum), Simd::set(b.peak), Simd::set(b.sum));
  float peak[Simd::kLanes], sum[Simd::kLanes];
  Simd::store(peak, both.peak);
  Simd::store(sum, both.sum);
  a = {peak[0], sum[0]};
  for (int64_t i = 0; i < head_dim; i += Simd::kLanes)
    Simd::store(a_output + i, Simd::fma(Simd::load(a_output + i), both.of_a, Simd::mul(Simd::load(b_output + i), both.of_b)));
}

// What the outputs of a state are multiplied with in the end, a lane a query. A sink only enters the denominator.
inline F output_factor(F sum) { return Simd::div(Simd::set(1.0f), sum); }
inline F output_factor(F peak, F sum, F sink) {
  const F highest = Simd::max(sink, peak), factor = exp(Simd::sub(peak, highest));
  return Simd::div(factor, Simd::fma(sum, factor, exp(Simd::sub(sink, highest))));
}

// The normalised output of a head to y.
inline void finish(const AttentionArgs& args, int64_t head, const Online& state, const float* output, float* y) {
  const F peak = Simd::set(state.peak), sum = Simd::set(state.sum);
  const F factor = args.sinks ? output_factor(peak, sum, Simd::set(args.sinks[head])) : output_factor(sum);
  for (int64_t i = 0; i < args.kv.head_dim; i += Simd::kLanes)
    Simd::store(y + i, Simd::mul(Simd::load(output + i), factor));
}

// Fetches the cached rows of the next block, n_lines of 64 bytes at each step of this one: as many at once as there are would
// hold up what is computed meanwhile. kLocality: as __builtin_prefetch has it.
template <int kLocality>
class RowsAhead {
 public:
  RowsAhead(const uint8_t* const* rows, Span span, int64_t row_bytes, int n_lines)
      : row_(rows + span.from), end_(rows + span.to), row_bytes_(row_bytes), n_lines_(n_lines) {}
  void step() {
    for (int i = 0; i < n_lines_ && row_ < end_; ++i) {
      __builtin_prefetch(*row_ + at_, 0, kLocality);
      at_ += 64;
      if (at_ < row_bytes_) continue;
      at_ = 0;
      ++row_;
    }
  }

 private:
  const uint8_t* const* row_;
  const uint8_t* const* end_;
  int64_t at_ = 0;
  int64_t row_bytes_;
  int n_lines_;
};
using Ahead = RowsAhead<3>;

// Queries [0, kQueries) times kVectors vectors of keys [head_dim][kBlock] -> scores [kQueries][kBlock].
template <int kQueries, int kVectors>
inline void score_tile(const float* queries, const float* keys, float* scores, int64_t head_dim, Ahead& ahead) {
  F sums[kQueries][kVectors];
#pragma GCC unroll 4
  for (int i = 0; i < kQueries; ++i)
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j) sums[i][j] = Simd::set(0.0f);
  for (int64_t d = 0; d < head_dim; ++d) {
    ahead.step();
    F k[kVectors];
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j) k[j] = Simd::load(keys + d * kBlock + j * Simd::kLanes);
#pragma GCC unroll 4
    for (int i = 0; i < kQueries; ++i) {
      const F x = Simd::set(queries[i * head_dim + d]);
#pragma GCC unroll 4
      for (int j = 0; j < kVectors; ++j) sums[i][j] = Simd::fma(x, k[j], sums[i][j]);
    }
  }
#pragma GCC unroll 4
  for (int i = 0; i < kQueries; ++i)
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j) Simd::store(scores + i * kBlock + j * Simd::kLanes, sums[i][j]);
}

// outputs[q] = outputs[q] rescale[q] + weights[q][from .. to) times the rows of V, kVectors vectors
// from element `column` of each.
template <typename Row, int kQueries, int kVectors>
inline void accumulate_tile(const float* weights, const uint8_t* const* rows, int64_t column, const float* rescale,
                            float* outputs, int64_t from, int64_t to, int64_t head_dim, Ahead& ahead) {
  F sums[kQueries][kVectors];
#pragma GCC unroll 4
  for (int i = 0; i < kQueries; ++i)
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j)
      sums[i][j] = Simd::mul(Simd::load(outputs + i * head_dim + j * Simd::kLanes), Simd::set(rescale[i]));
  for (int64_t p = from; p < to; ++p) {
    ahead.step();
    F v[kVectors];
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j) v[j] = Row::load(rows[p], column + j * Simd::kLanes);
#pragma GCC unroll 4
    for (int i = 0; i < kQueries; ++i) {
      const F w = Simd::set(weights[i * kBlock + p]);
#pragma GCC unroll 4
      for (int j = 0; j < kVectors; ++j) sums[i][j] = Simd::fma(w, v[j], sums[i][j]);
    }
  }
#pragma GCC unroll 4
  for (int i = 0; i < kQueries; ++i)
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j) Simd::store(outputs + i * head_dim + j * Simd::kLanes, sums[i][j]);
}

// The vectors of positions that hold some of [from, to).
template <int kQueries>
inline void score_queries(const float* queries, const float* keys, float* scores, int64_t from, int64_t to, int64_t head_dim,
                          Ahead& ahead) {
  int64_t at = from / Simd::kLanes * Simd::kLanes;
  for (; at + (kVectorTile - 1) * Simd::kLanes < to; at += kVectorTile * Simd::kLanes)
    score_tile<kQueries, kVectorTile>(queries, keys + at, scores + at, head_dim, ahead);
  for (; at < to; at += Simd::kLanes) score_tile<kQueries, 1>(queries, keys + at, scores + at, head_dim, ahead);
}

template <typename Row, int kQueries>
inline void accumulate_queries(const float* weights, const uint8_t* const* rows, const float* rescale, float* outputs, int64_t from,
                               int64_t to, int64_t head_dim, Ahead& ahead) {
  int64_t d = 0;
  for (; d + kVectorTile * Simd::kLanes <= head_dim; d += kVectorTile * Simd::kLanes)
    accumulate_tile<Row, kQueries, kVectorTile>(weights, rows, d, rescale, outputs + d, from, to, head_dim, ahead);
  for (; d < head_dim; d += Simd::kLanes)
    accumulate_tile<Row, kQueries, 1>(weights, rows, d, rescale, outputs + d, from, to, head_dim, ahead);
}

// One query over the positions that others of its tile do not see. Few, and not worth a copy in
// each of its callers.
template <typename Row>
[[gnu::noinline]] void accumulate_alone(const float* weights, const uint8_t* const* rows, float rescale,
                                        float* output, int64_t from, int64_t to, int64_t head_dim, Ahead& ahead) {
  accumulate_queries<Row, 1>(weights, rows, &rescale, output, from, to, head_dim, ahead);
}

// As accumulate_queries, for queries that each see a part of the block, which may be empty, and add
// that part alone. What all of them see is read once for all; what one sees before or after that,
// at the beginning of its window or the end of its context, it adds by itself.
template <typename Row, int kQueries>
inline void accumulate_seen(const float* weights, const uint8_t* const* rows, float* rescale,
                            const Span* seen, float* outputs, int64_t head_dim, Ahead& ahead) {
  Span all = seen[0];
  if constexpr (kQueries == 1)
    return accumulate_queries<Row, 1>(weights, rows, rescale, outputs, all.from, all.to, head_dim, ahead);
  for (int i = 1; i < kQueries; ++i) {
    all.from = seen[i].from > all.from ? seen[i].from : all.from;
    all.to = seen[i].to < all.to ? seen[i].to : all.to;
  }
  if (all.from >= all.to) all = {kBlock, kBlock};  // each by itself
  for (int i = 0; i < kQueries; ++i) {
    const int64_t to = seen[i].to < all.from ? seen[i].to : all.from;
    if (seen[i].from >= to) continue;
    accumulate_alone<Row>(weights + i * kBlock, rows, rescale[i], outputs + i * head_dim, seen[i].from,
                          to, head_dim, ahead);
    rescale[i] = 1.0f;
  }
  if (all.from == kBlock) return;
  accumulate_queries<Row, kQueries>(weights, rows, rescale, outputs, all.from, all.to, head_dim, ahead);
  for (int i = 0; i < kQueries; ++i)
    if (seen[i].to > all.to)
      accumulate_alone<Row>(weights + i * kBlock, rows, 1.0f, outputs + i * head_dim, all.to,
                            seen[i].to, head_dim, ahead);
}

// fn<n>(first) for register tiles of n queries that together are [0, n_queries).
template <typename Fn>
inline void each_query_tile(int64_t n_queries, Fn fn) {
  int64_t q = 0;
  for (; q + kQueryTile <= n_queries; q += kQueryTile) fn.template operator()<kQueryTile>(q);
  switch (n_queries - q) {
    case 1: fn.template operator()<1>(q); break;
    case 2: fn.template operator()<2>(q); break;
    case 3: fn.template operator()<3>(q); break;
    default: break;
  }
}

// keys[d][p] = element d of the row p, for rows [from, to) of a block; other columns of a group
// touched are anything.
template <typename Row>
inline void decode_transposed(const uint8_t* const* rows, int64_t from, int64_t to, float* group, float* keys, int64_t head_dim) {
  for (int64_t first = from / Simd::kLanes * Simd::kLanes; first < to; first += Simd::kLanes) {
    for (int64_t i = 0; i < Simd::kLanes; ++i)
      if (first + i >= from && first + i < to) Row::decode(rows[first + i], group + i * head_dim, head_dim);
    for (int64_t d = 0; d < head_dim; d += Simd::kLanes) {
      F x[Simd::kLanes];
#pragma GCC unroll 16
      for (int i = 0; i < Simd::kLanes; ++i) x[i] = Simd::load(group + i * head_dim + d);
      Simd::transpose(x);
#pragma GCC unroll 16
      for (int i = 0; i < Simd::kLanes; ++i) Simd::store(keys + (d + i) * kBlock + first, x[i]);
    }
  }
}

// Half precision is transposed as it is, twice as many elements a step, from where it is if the rows stand one behind the other.
template <>
inline void decode_transposed<RowF16>(const uint8_t* const* rows, int64_t from, int64_t to, float* group, float* keys, int64_t head_dim) {
  static constexpr int64_t kPositions = 2 * Simd::kLanes;
  const int64_t row_bytes = RowF16::size_bytes(head_dim);
  for (int64_t first = from / kPositions * kPositions; first < to; first += kPositions) {
    bool is_together = first >= from && first + kPositions <= to;
    for (int64_t i = 1; i < kPositions && is_together; ++i) is_together = rows[first + i] == rows[first] + i * row_bytes;
    const auto* x = reinterpret_cast<const uint16_t*>(is_together ? rows[first] : reinterpret_cast<uint8_t*>(group));
    for (int64_t i = 0; i < kPositions && !is_together; ++i)
      if (first + i >= from && first + i < to)
        __builtin_memcpy(reinterpret_cast<uint8_t*>(group) + i * row_bytes, rows[first + i], static_cast<size_t>(row_bytes));
    int64_t d = 0;
    for (; d + 8 <= head_dim; d += 8) {
      F low[8], high[8];
      Simd::transpose_f16(x + d, head_dim, low, high);
#pragma GCC unroll 8
      for (int i = 0; i < 8; ++i) {
        Simd::store(keys + (d + i) * kBlock + first, low[i]);
        Simd::store(keys + (d + i) * kBlock + first + Simd::kLanes, high[i]);
      }
    }
    for (; d < head_dim; ++d)
      for (int64_t i = 0; i < kPositions; ++i) keys[d * kBlock + first + i] = Simd::f16_to_f32(x[i * head_dim + d]);
  }
}

// The memory of one thread while it works on a tile: on its stack.
struct Workspace {
  alignas(64) float queries[kMaxTileElems];   // [n_queries][head_dim], scaled
  alignas(64) float outputs[kMaxTileElems];   // of the segment
  alignas(64) float totals[kMaxTileElems];    // of the segments before it
  alignas(64) float scores[kMaxQueries * kBlock];
  alignas(64) float keys[kMaxHeadDim * kBlock];
  alignas(64) float values[kBlock * kMaxHeadDim];
  alignas(64) float group[Simd::kLanes * kMaxHeadDim];
  float rescale[kMaxQueries];
  Span seen[kMaxQueries];  // of the block
  Online states[kMaxQueries], total_states[kMaxQueries];
};

// Tokens [token, token + n_tokens) of one sequence, all query heads of kv_head. Query t * n_group + h is head h of token t.
struct Tile {
  int64_t kv_head;
  int64_t token;
  int64_t n_tokens;
  int64_t n_group;
  Span all;  // what any of the tokens sees
};

// Adds what each query sees of a block, whose rows of V are `rows`, to its outputs.
template <typename Row>
inline void accumulate_block(const uint8_t* const* rows, int64_t n_queries, Workspace& work, int64_t head_dim, Ahead& ahead) {
  each_query_tile(n_queries, [&]<int kQueries>(int64_t q) {
    accumulate_seen<Row, kQueries>(work.scores + q * kBlock, rows, work.rescale + q, work.seen + q,
                                   work.outputs + q * head_dim, head_dim, ahead);
  });
}

// The cached rows of a block that some token of the tile sees.
struct BlockRows {
  Span seen{0, 0};
  const uint8_t* k[kBlock];
  const uint8_t* v[kBlock];
};
template <typename Row>
inline void find_block(const AttentionArgs& args, const Tile& tile, int64_t block, BlockRows& rows) {
  const int64_t from = tile.all.from > block ? tile.all.from - block : 0;
  const int64_t to = tile.all.to - block < kBlock ? tile.all.to - block : kBlock;
  rows.seen = from < to ? Span{from, to} : Span{0, 0};
  if (from >= to) return;
  const int64_t sequence = args.tokens[tile.token].sequence;
  find_rows<Row>(args.kv.k, args, sequence, tile.kv_head, block + from, to - from, rows.k + from);
  find_rows<Row>(args.kv.v, args, sequence, tile.kv_head, block + from, to - from, rows.v + from);
}

// Sums over the positions [start, start + kAttentionSegment), some of which a token of the tile sees, into outputs and
// states. rows: of the first block; of the one behind the last afterwards, if that is before `end`.
template <typename Row>
inline void attend_segment(const AttentionArgs& args, const Tile& tile, int64_t start, int64_t end, BlockRows (&rows)[2], Workspace& work) {
  const int64_t head_dim = args.kv.head_dim, n_queries = tile.n_tokens * tile.n_group;
  for (int64_t i = 0; i < n_queries * head_dim; ++i) work.outputs[i] = 0.0f;
  for (int64_t q = 0; q < n_queries; ++q) work.states[q] = Online{};
  for (int64_t block = start; block < start + kAttentionSegment; block += kBlock) {
    BlockRows &now = rows[block / kBlock % 2], &next = rows[(block / kBlock + 1) % 2];
    next.seen = {0, 0};
    if (block + kBlock < end) find_block<Row>(args, tile, block + kBlock, next);
    if (now.seen.from >= now.seen.to) continue;
    const int64_t first = now.seen.from, last = now.seen.to;
    decode_transposed<Row>(now.k, first, last, work.group, work.keys, head_dim);
    const int n_lines = n_queries > kQueryTile ? 1 : 2;
    Ahead keys_ahead(next.k, next.seen, Row::size_bytes(head_dim), n_lines);
    each_query_tile(n_queries, [&]<int kQueries>(int64_t q) {
      score_queries<kQueries>(work.queries + q * head_dim, work.keys, work.scores + q * kBlock, first, last, head_dim, keys_ahead);
    });
    for (int64_t q = 0; q < n_queries; ++q) {
      const Span span = visible(args, tile.token + q / tile.n_group);
      const int64_t from = span.from > block ? span.from - block : 0;
      const int64_t to = span.to - block < kBlock ? span.to - block : kBlock;
      work.seen[q] = from < to ? Span{from, to} : Span{0, 0};
      work.rescale[q] = 1.0f;
    }
    each_query_tile(n_queries, [&]<int kQueries>(int64_t q) {
      const Span* seen = work.seen + q;
      bool is_same = seen[0].from < seen[0].to;
      for (int i = 1; i < kQueries; ++i) is_same = is_same && seen[i].from == seen[0].from && seen[i].to == seen[0].to;
      if (is_same) return block_softmax<kQueries>(args, work.scores + q * kBlock, seen[0].from, seen[0].to, work.states + q, work.rescale + q);
      for (int i = 0; i < kQueries; ++i)
        if (seen[i].from < seen[i].to)
          block_softmax<1>(args, work.scores + (q + i) * kBlock, seen[i].from, seen[i].to, work.states + q + i, work.rescale + q + i);
    });
    Ahead values_ahead(next.v, next.seen, Row::size_bytes(head_dim), n_lines);
    if constexpr (Row::kIsPlain)
      if (n_queries <= kFewQueries) {
        accumulate_block<Row>(now.v, n_queries, work, head_dim, values_ahead);
        continue;
      }
    for (int64_t p = first; p < last; ++p) {
      float* values = work.values + p * head_dim;
      Row::decode(now.v[p], values, head_dim);
      now.v[p] = reinterpret_cast<const uint8_t*>(values);
    }
    accumulate_block<RowF32>(now.v, n_queries, work, head_dim, values_ahead);
  }
}

inline bool sees(Span span, int64_t start) { return span.from < start + kAttentionSegment && span.to > start; }

// The segments that tokens of a step see together, divided among splits; and where a split leaves a segment of one query:
// Online, then head_dim outputs.
struct Partials {
  const AttentionArgs& args;
  int64_t first;
  int64_t n;  // segments

  explicit Partials(const AttentionArgs& step) : args(step) {
    const Span all = visible_to_any(args, 0, args.q.n_rows);
    first = all.from / kAttentionSegment;
    n = (all.to + kAttentionSegment - 1) / kAttentionSegment - first;
  }
  int64_t begin(int64_t split) const { return first + n * split / args.n_splits; }
  float* at(int64_t token, int64_t head, int64_t segment) const {
    return args.scratch + kAttentionCounters + ((token * args.n_heads + head) * n + segment - first) * (args.kv.head_dim + 2);
  }
};

// Called when a split of tokens [token, token + n_tokens) has left its segments: the last one of a token to arrive joins them
// all, in order, into `total`, and finishes the token.
inline void arrive(const AttentionArgs& args, const Partials& partials, int64_t kv_head, int64_t token, int64_t n_tokens, float* total) {
  const int64_t head_dim = args.kv.head_dim, n_group = args.n_heads / args.kv.n_kv_heads;
  for (int64_t t = token; t < token + n_tokens; ++t) {
    auto* arrived = reinterpret_cast<uint32_t*>(args.scratch) + t * args.kv.n_kv_heads + kv_head;
    if (__atomic_add_fetch(arrived, 1u, __ATOMIC_ACQ_REL) < static_cast<uint32_t>(args.n_splits)) continue;
    __atomic_store_n(arrived, 0u, __ATOMIC_RELAXED);  // as it was found
    const Span span = visible(args, t);
    for (int64_t head = kv_head * n_group; head < (kv_head + 1) * n_group; ++head) {
      Online state;
      for (int64_t segment = span.from / kAttentionSegment; segment * kAttentionSegment < span.to; ++segment) {
        const float* partial = partials.at(t, head, segment);
        join(state, total, {partial[0], partial[1]}, partial + 2, head_dim);
      }
      finish(args, head, state, total, args.y.row(t) + head * head_dim);
    }
  }
}

// Segments [from, to) for a tile. Without splits these are all and y is written; with splits they are left for
// arrive().
template <typename Row>
inline void attend(const AttentionArgs& args, const Tile& tile, int64_t from, int64_t to, const Partials* partials, Workspace& work) {
  const int64_t head_dim = args.kv.head_dim, n_group = tile.n_group, n_queries = tile.n_tokens * n_group;
  for (int64_t q = 0; q < n_queries; ++q) {
    const float* x = args.q.row(tile.token + q / n_group) + (tile.kv_head * n_group + q % n_group) * head_dim;
    for (int64_t d = 0; d < head_dim; d += Simd::kLanes)
      Simd::store(work.queries + q * head_dim + d, Simd::mul(Simd::load(x + d), Simd::set(args.scale)));
    work.total_states[q] = Online{};
  }
  for (int64_t i = 0; i < Simd::kLanes * head_dim; ++i) work.group[i] = 0.0f;  // rows outside the span are scored, then dropped
  BlockRows rows[2];
  find_block<Row>(args, tile, from * kAttentionSegment, rows[from * kAttentionSegment / kBlock % 2]);
  for (int64_t segment = from; segment < to; ++segment) {
    const int64_t start = segment * kAttentionSegment;
    if (!sees(tile.all, start)) {
      find_block<Row>(args, tile, start + kAttentionSegment, rows[(start + kAttentionSegment) / kBlock % 2]);
      continue;
    }
    attend_segment<Row>(args, tile, start, to * kAttentionSegment, rows, work);
    for (int64_t q = 0; q < n_queries; ++q) {
      const int64_t token = tile.token + q / n_group;
      if (!sees(visible(args, token), start)) continue;
      const float* output = work.outputs + q * head_dim;
      if (partials == nullptr) {
        join(work.total_states[q], work.totals + q * head_dim, work.states[q], output, head_dim);
        continue;
      }
      float* partial = partials->at(token, tile.kv_head * n_group + q % n_group, segment);
      partial[0] = work.states[q].peak;
      partial[1] = work.states[q].sum;
      for (int64_t d = 0; d < head_dim; d += Simd::kLanes) Simd::store(partial + 2 + d, Simd::load(output + d));
    }
  }
  for (int64_t q = 0; q < n_queries && partials == nullptr; ++q) {
    const int64_t head = tile.kv_head * n_group + q % n_group;
    finish(args, head, work.total_states[q], work.totals + q * head_dim, args.y.row(tile.token + q / n_group) + head * head_dim);
  }
}

template <typename Row>
inline void attention(const AttentionArgs& args, RowRange range) {
  if (range.from >= range.to) return;
  Workspace work;
  const int64_t n_tokens = args.q.n_rows, n_group = args.n_heads / args.kv.n_kv_heads, n_splits = args.n_splits;
  const int64_t n_queries = kMaxTileElems / args.kv.head_dim < kMaxQueries ? kMaxTileElems / args.kv.head_dim : kMaxQueries;
  const int64_t max_tokens = n_queries / n_group;
  const Partials partials(args);
  for (int64_t unit = range.from; unit < range.to;) {
    const int64_t kv_head = unit / (n_tokens * n_splits), split = unit / n_tokens % n_splits, token = unit % n_tokens;
    const int64_t left = n_tokens - token < range.to - unit ? n_tokens - token : range.to - unit;
    const int64_t n = of_one_sequence(args, token, left < max_tokens ? left : max_tokens);
    const Tile tile{kv_head, token, n, n_group, visible_to_any(args, token, n)};
    attend<Row>(args, tile, partials.begin(split), partials.begin(split + 1), n_splits > 1 ? &partials : nullptr, work);
    if (n_splits > 1) arrive(args, partials, kv_head, token, n, work.totals);
    unit += n;
  }
}

}  // namespace
}  // namespace olx::kernels::cpu
