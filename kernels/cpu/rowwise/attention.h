#pragma once
// Attention over cache pages, written once over Simd (include simd.h and elementwise.h before). Internal linkage.
//
// Two ways, chosen by TokenSlot::is_prompt (never by the RowRange or the rest of the batch: no split changes a bit):
//   alone: a token made one at a time (decoding). Rows of K and V are decoded
//     kGroup at a time, so that they stay in L1, once for all query heads of the group; as many dot products as a
//     vector has lanes are summed across by one transposition.
//   run:   consecutive tokens of a prompt. Up to kMaxQueries queries (tokens x heads of the group) share a
//     block: K is transposed while it is decoded, so that 16 (or 8, 4) scores come from one vector and queries are
//     broadcast; then P V is accumulated with V rows as vectors.
// Softmax is online over blocks of kBlock positions that begin at multiples of kBlock.

#include <cstdint>

#include "kernels/api/args.h"
#include "kernels/cpu/rowwise/limits.h"

namespace olx::kernels::cpu {
namespace {

constexpr int64_t kBlock = 64;     // positions scored together
constexpr int64_t kGroup = 16;     // positions decoded together; a multiple of every Simd::kLanes, divides kBlock
constexpr int64_t kQueryTile = 4;  // queries per register tile

// Decoders of one cached row of head_dim elements.
struct RowF32 {
  static constexpr int64_t size_bytes(int64_t n) { return 4 * n; }
  static void decode(const void* row, float* x, int64_t n) {
    for (int64_t i = 0; i < n; i += Simd::kLanes) Simd::store(x + i, Simd::load(static_cast<const float*>(row) + i));
  }
};
struct RowF16 {
  static constexpr int64_t size_bytes(int64_t n) { return 2 * n; }
  static void decode(const void* row, float* x, int64_t n) {
    for (int64_t i = 0; i < n; i += Simd::kLanes) Simd::store(x + i, Simd::load_f16(static_cast<const uint16_t*>(row) + i));
  }
};
struct RowQ8_0 {
  static constexpr int64_t size_bytes(int64_t n) { return n / 32 * 34; }
  static void decode(const void* row, float* x, int64_t n) {
    const auto* block = static_cast<const uint8_t*>(row);
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

// Softmax state of one query.
struct Online {
  float peak = -__builtin_inff();
  float sum = 0.0f;
};

// Scores of one query over a block -> weights in place; returns what the output so far must be multiplied with.
// Scores outside [from, to) of the block weigh nothing.
inline float block_softmax(const AttentionArgs& args, float* scores, int64_t from, int64_t to, Online& state) {
  if (args.softcap > 0.0f) {
    const F cap = Simd::set(args.softcap), inverse = Simd::set(1.0f / args.softcap);
    for (int64_t i = 0; i < kBlock; i += Simd::kLanes)
      Simd::store(scores + i, Simd::mul(cap, tanh(Simd::mul(Simd::load(scores + i), inverse))));
  }
  for (int64_t i = 0; i < from; ++i) scores[i] = -__builtin_inff();
  for (int64_t i = to; i < kBlock; ++i) scores[i] = -__builtin_inff();
  F largest = Simd::load(scores);
  for (int64_t i = Simd::kLanes; i < kBlock; i += Simd::kLanes) largest = Simd::max(Simd::load(scores + i), largest);
  const float block_peak = Simd::largest(largest);
  const float peak = block_peak > state.peak ? block_peak : state.peak;
  F sum = Simd::set(0.0f);
  for (int64_t i = 0; i < kBlock; i += Simd::kLanes) {
    const F weight = exp(Simd::sub(Simd::load(scores + i), Simd::set(peak)));
    Simd::store(scores + i, weight);
    sum = Simd::add(sum, weight);
  }
  for (int64_t i = 0; i < from; ++i) scores[i] = 0.0f;
  for (int64_t i = to; i < kBlock; ++i) scores[i] = 0.0f;
  float factor[Simd::kLanes];
  Simd::store(factor, exp(Simd::set(state.peak - peak)));
  const float rescale = state.sum > 0.0f ? factor[0] : 0.0f;
  state.sum = state.sum * rescale + Simd::sum(sum);
  state.peak = peak;
  return rescale;
}

// Adds the sink to the denominator and writes the normalised output.
inline void finish(const AttentionArgs& args, int64_t head, const Online& state, const float* output, float* y) {
  float peak = state.peak, denominator = state.sum, rescale = 1.0f;
  if (args.sinks) {
    const float sink = args.sinks[head];
    const float highest = sink > peak ? sink : peak;
    float a[Simd::kLanes], b[Simd::kLanes];
    Simd::store(a, exp(Simd::set(peak - highest)));
    Simd::store(b, exp(Simd::set(sink - highest)));
    rescale = a[0];
    denominator = denominator * a[0] + b[0];
  }
  const F inverse = Simd::set(rescale / denominator);
  for (int64_t i = 0; i < args.kv.head_dim; i += Simd::kLanes) Simd::store(y + i, Simd::mul(Simd::load(output + i), inverse));
}

// Query heads [first, first + n) of one kv head.
struct Heads {
  int64_t kv_head;
  int64_t first;
  int64_t n;
};

// ----- one token -----

// scores[p] = scale * (q . keys[p]) for keys [kGroup][head_dim].
inline void score_rows(const float* q, const float* keys, float scale, float* scores, int64_t head_dim) {
  for (int64_t p = 0; p < kGroup; p += Simd::kLanes) {
    F sums[Simd::kLanes];
#pragma GCC unroll 16
    for (int i = 0; i < Simd::kLanes; ++i) sums[i] = Simd::set(0.0f);
    for (int64_t d = 0; d < head_dim; d += Simd::kLanes) {
      const F x = Simd::load(q + d);
#pragma GCC unroll 16
      for (int i = 0; i < Simd::kLanes; ++i) sums[i] = Simd::fma(x, Simd::load(keys + (p + i) * head_dim + d), sums[i]);
    }
    Simd::transpose(sums);
#pragma GCC unroll 4
    for (int half = Simd::kLanes / 2; half > 0; half /= 2)
#pragma GCC unroll 8
      for (int i = 0; i < half; ++i) sums[i] = Simd::add(sums[i], sums[i + half]);
    Simd::store(scores + p, Simd::mul(sums[0], Simd::set(scale)));
  }
}

// output += weights[0 .. n) times values [n][head_dim].
inline void weigh_rows(const float* weights, const float* values, float* output, int64_t n, int64_t head_dim) {
  int64_t d = 0;
  for (; d + 4 * Simd::kLanes <= head_dim; d += 4 * Simd::kLanes) {
    F sums[4];
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) sums[j] = Simd::load(output + d + j * Simd::kLanes);
    for (int64_t p = 0; p < n; ++p) {
      const F weight = Simd::set(weights[p]);
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) sums[j] = Simd::fma(weight, Simd::load(values + p * head_dim + d + j * Simd::kLanes), sums[j]);
    }
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) Simd::store(output + d + j * Simd::kLanes, sums[j]);
  }
  for (; d < head_dim; d += Simd::kLanes) {
    F sum = Simd::load(output + d);
    for (int64_t p = 0; p < n; ++p) sum = Simd::fma(Simd::set(weights[p]), Simd::load(values + p * head_dim + d), sum);
    Simd::store(output + d, sum);
  }
}

template <typename Row>
inline void attend_alone(const AttentionArgs& args, Heads heads, int64_t token) {
  const int64_t head_dim = args.kv.head_dim, sequence = args.tokens[token].sequence;
  const Span span = visible(args, token);
  alignas(64) float group[kGroup * kMaxHeadDim], scores[kMaxQueries * kBlock], outputs[kMaxQueries * kMaxHeadDim];
  const uint8_t *k_rows[kBlock], *v_rows[kBlock];
  Online states[kMaxQueries];
  for (int64_t i = 0; i < heads.n * head_dim; ++i) outputs[i] = 0.0f;
  for (int64_t i = 0; i < heads.n * kBlock; ++i) scores[i] = 0.0f;
  for (int64_t i = 0; i < kGroup * head_dim; ++i) group[i] = 0.0f;  // rows outside the span are scored, then dropped

  for (int64_t start = span.from / kBlock * kBlock; start < span.to; start += kBlock) {
    const int64_t from = span.from > start ? span.from - start : 0;
    const int64_t to = span.to - start < kBlock ? span.to - start : kBlock;
    find_rows<Row>(args.kv.k, args, sequence, heads.kv_head, start + from, to - from, k_rows + from);
    find_rows<Row>(args.kv.v, args, sequence, heads.kv_head, start + from, to - from, v_rows + from);
    for (int64_t first = from / kGroup * kGroup; first < to; first += kGroup) {
      const int64_t low = from > first ? from : first, high = to < first + kGroup ? to : first + kGroup;
      for (int64_t p = low; p < high; ++p) Row::decode(k_rows[p], group + (p - first) * head_dim, head_dim);
      for (int64_t h = 0; h < heads.n; ++h)
        score_rows(args.q.row(token) + (heads.first + h) * head_dim, group, args.scale, scores + h * kBlock + first, head_dim);
    }
    for (int64_t h = 0; h < heads.n; ++h) {
      const F rescale = Simd::set(block_softmax(args, scores + h * kBlock, from, to, states[h]));
      float* output = outputs + h * head_dim;
      for (int64_t d = 0; d < head_dim; d += Simd::kLanes) Simd::store(output + d, Simd::mul(Simd::load(output + d), rescale));
    }
    for (int64_t low = from; low < to; low += kGroup) {
      const int64_t n = to - low < kGroup ? to - low : kGroup;
      for (int64_t p = 0; p < n; ++p) Row::decode(v_rows[low + p], group + p * head_dim, head_dim);
      for (int64_t h = 0; h < heads.n; ++h) weigh_rows(scores + h * kBlock + low, group, outputs + h * head_dim, n, head_dim);
    }
  }
  for (int64_t h = 0; h < heads.n; ++h) {
    const int64_t head = heads.first + h;
    finish(args, head, states[h], outputs + h * head_dim, args.y.row(token) + head * head_dim);
  }
}

// ----- a run of tokens of one sequence -----

// scores[q][kBlock] = queries [n][head_dim] times keys [head_dim][kBlock], kQueryTile queries and 4 vectors at a time.
inline void score_block(const float* queries, const float* keys, float* scores, int64_t n_queries, int64_t head_dim) {
  constexpr int64_t kVectors = kBlock / Simd::kLanes < 4 ? kBlock / Simd::kLanes : 4;
  for (int64_t q = 0; q < n_queries; q += kQueryTile)
    for (int64_t at = 0; at < kBlock; at += kVectors * Simd::kLanes) {
      F sums[kQueryTile][kVectors];
#pragma GCC unroll 4
      for (int i = 0; i < kQueryTile; ++i)
#pragma GCC unroll 4
        for (int j = 0; j < kVectors; ++j) sums[i][j] = Simd::set(0.0f);
      for (int64_t d = 0; d < head_dim; ++d) {
        F k[kVectors];
#pragma GCC unroll 4
        for (int j = 0; j < kVectors; ++j) k[j] = Simd::load(keys + d * kBlock + at + j * Simd::kLanes);
#pragma GCC unroll 4
        for (int i = 0; i < kQueryTile; ++i) {
          const F x = Simd::set(queries[(q + i) * head_dim + d]);
#pragma GCC unroll 4
          for (int j = 0; j < kVectors; ++j) sums[i][j] = Simd::fma(x, k[j], sums[i][j]);
        }
      }
#pragma GCC unroll 4
      for (int i = 0; i < kQueryTile; ++i)
#pragma GCC unroll 4
        for (int j = 0; j < kVectors; ++j) Simd::store(scores + (q + i) * kBlock + at + j * Simd::kLanes, sums[i][j]);
    }
}

// outputs[q] = outputs[q] * rescale[q] + weights[q][0 .. n) times values [n][head_dim].
inline void accumulate_block(const float* weights, const float* values, const float* rescale, float* outputs, int64_t n_queries,
                             int64_t n_positions, int64_t head_dim) {
  for (int64_t q = 0; q < n_queries; q += kQueryTile) {
    int64_t d = 0;
    for (; d + 4 * Simd::kLanes <= head_dim; d += 4 * Simd::kLanes) {
      F sums[kQueryTile][4];
#pragma GCC unroll 4
      for (int i = 0; i < kQueryTile; ++i)
#pragma GCC unroll 4
        for (int j = 0; j < 4; ++j)
          sums[i][j] = Simd::mul(Simd::load(outputs + (q + i) * head_dim + d + j * Simd::kLanes), Simd::set(rescale[q + i]));
      for (int64_t p = 0; p < n_positions; ++p) {
        F v[4];
#pragma GCC unroll 4
        for (int j = 0; j < 4; ++j) v[j] = Simd::load(values + p * head_dim + d + j * Simd::kLanes);
#pragma GCC unroll 4
        for (int i = 0; i < kQueryTile; ++i) {
          const F w = Simd::set(weights[(q + i) * kBlock + p]);
#pragma GCC unroll 4
          for (int j = 0; j < 4; ++j) sums[i][j] = Simd::fma(w, v[j], sums[i][j]);
        }
      }
#pragma GCC unroll 4
      for (int i = 0; i < kQueryTile; ++i)
#pragma GCC unroll 4
        for (int j = 0; j < 4; ++j) Simd::store(outputs + (q + i) * head_dim + d + j * Simd::kLanes, sums[i][j]);
    }
    for (; d < head_dim; d += Simd::kLanes)
      for (int64_t i = q; i < q + kQueryTile; ++i) {
        F sum = Simd::mul(Simd::load(outputs + i * head_dim + d), Simd::set(rescale[i]));
        for (int64_t p = 0; p < n_positions; ++p)
          sum = Simd::fma(Simd::set(weights[i * kBlock + p]), Simd::load(values + p * head_dim + d), sum);
        Simd::store(outputs + i * head_dim + d, sum);
      }
  }
}

// keys[d][p] = the decoded row p, for rows [from, to) of a block; other columns of a group touched are any finite number.
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

// Tokens [token, token + n_tokens) of one sequence; n_tokens * heads.n <= kMaxQueries.
template <typename Row>
inline void attend_run(const AttentionArgs& args, Heads heads, int64_t token, int64_t n_tokens) {
  const int64_t head_dim = args.kv.head_dim, sequence = args.tokens[token].sequence, n_group = heads.n;
  const int64_t n_queries = n_tokens * n_group;
  const int64_t n_padded = (n_queries + kQueryTile - 1) / kQueryTile * kQueryTile;
  constexpr int64_t kPadded = kMaxQueries + kQueryTile;
  alignas(64) float queries[kPadded * kMaxHeadDim], outputs[kPadded * kMaxHeadDim], scores[kPadded * kBlock];
  alignas(64) float keys[kMaxHeadDim * kBlock], values[kBlock * kMaxHeadDim], group[Simd::kLanes * kMaxHeadDim];
  const uint8_t* rows[kBlock];
  float rescale[kPadded];
  Online states[kPadded];
  for (int64_t i = 0; i < n_padded * head_dim; ++i) outputs[i] = queries[i] = 0.0f;
  for (int64_t i = 0; i < Simd::kLanes * head_dim; ++i) group[i] = 0.0f;
  Span all = visible(args, token);
  for (int64_t t = 0; t < n_tokens; ++t) {
    const Span span = visible(args, token + t);
    if (span.from < all.from) all.from = span.from;
    if (span.to > all.to) all.to = span.to;
    for (int64_t h = 0; h < n_group; ++h) {
      const float* q = args.q.row(token + t) + (heads.first + h) * head_dim;
      for (int64_t d = 0; d < head_dim; d += Simd::kLanes)
        Simd::store(queries + (t * n_group + h) * head_dim + d, Simd::mul(Simd::load(q + d), Simd::set(args.scale)));
    }
  }
  for (int64_t start = all.from / kBlock * kBlock; start < all.to; start += kBlock) {
    const int64_t first = all.from > start ? all.from - start : 0;
    const int64_t last = all.to - start < kBlock ? all.to - start : kBlock;
    if (first > 0 || last < kBlock) {
      for (int64_t i = 0; i < head_dim * kBlock; ++i) keys[i] = 0.0f;
      for (int64_t i = 0; i < first * head_dim; ++i) values[i] = 0.0f;
    }
    find_rows<Row>(args.kv.k, args, sequence, heads.kv_head, start + first, last - first, rows + first);
    decode_transposed<Row>(rows, first, last, group, keys, head_dim);
    find_rows<Row>(args.kv.v, args, sequence, heads.kv_head, start + first, last - first, rows + first);
    for (int64_t p = first; p < last; ++p) Row::decode(rows[p], values + p * head_dim, head_dim);
    score_block(queries, keys, scores, n_padded, head_dim);
    for (int64_t q = 0; q < n_queries; ++q) {
      const Span span = visible(args, token + q / n_group);
      const int64_t from = span.from > start ? span.from - start : 0;
      const int64_t to = span.to - start < kBlock ? span.to - start : kBlock;
      if (from >= to) {  // this query sees nothing of the block
        for (int64_t i = 0; i < kBlock; ++i) scores[q * kBlock + i] = 0.0f;
        rescale[q] = 1.0f;
      } else {
        rescale[q] = block_softmax(args, scores + q * kBlock, from, to, states[q]);
      }
    }
    for (int64_t q = n_queries; q < n_padded; ++q) rescale[q] = 0.0f;
    accumulate_block(scores, values, rescale, outputs, n_padded, last, head_dim);
  }
  for (int64_t q = 0; q < n_queries; ++q) {
    const int64_t head = heads.first + q % n_group;
    finish(args, head, states[q], outputs + q * head_dim, args.y.row(token + q / n_group) + head * head_dim);
  }
}

inline bool is_same_prompt(TokenSlot a, TokenSlot b) { return a.sequence == b.sequence && a.is_prompt && b.is_prompt; }

template <typename Row>
inline void attention(const AttentionArgs& args, RowRange range) {
  const int64_t n_heads = args.n_heads, n_group = n_heads / args.kv.n_kv_heads, max_tokens = kMaxQueries / n_group;
  for (int64_t unit = range.from; unit < range.to;) {
    const int64_t token = unit / n_heads, head = unit % n_heads, n_left = range.to - unit;
    if (head == 0 && n_left >= n_heads && args.tokens[token].is_prompt) {
      // Whole tokens of a run: all heads of as many tokens as share a tile.
      int64_t n = 1;
      while (n < max_tokens && (n + 1) * n_heads <= n_left && is_same_prompt(args.tokens[token + n], args.tokens[token])) ++n;
      for (int64_t kv_head = 0; kv_head < args.kv.n_kv_heads; ++kv_head) attend_run<Row>(args, {kv_head, kv_head * n_group, n_group}, token, n);
      unit += n * n_heads;
      continue;
    }
    const int64_t kv_head = head / n_group, rest = (kv_head + 1) * n_group - head;
    const Heads heads{kv_head, head, rest < n_left ? rest : n_left};
    if (args.tokens[token].is_prompt) attend_run<Row>(args, heads, token, 1);
    else attend_alone<Row>(args, heads, token);
    unit += heads.n;
  }
}

}  // namespace
}  // namespace olx::kernels::cpu
