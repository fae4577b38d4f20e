#pragma once
// Attention of a tile of 16 rows over one segment of the context, by products of f16 tiles. A row
// is a query head of a token; all rows belong to one sequence and kv head, so that K and V are read
// once for them, from memory to the lanes that multiply them: a wave makes the scores of 16
// positions, or 16 dimensions of the outputs. q and the weights of the softmax are sums of two f16
// (terms.h), because the contract leaves no room for one; so are K and V where they are not f16
// themselves.
//
// Nothing that a row's bits depend on is shared with other rows: positions count from 0, those that
// a row does not see have weight 0, and each scale is a row's or a position's own.

#include "kernels/simt/attention_rows.h"
#include "kernels/simt/terms.h"

namespace olx::kernels::simt {

constexpr int kQueryDims = 128;  // of q at a time in shared memory

// Softmax over some positions: outputs beside it are sums of weight times value, weights relative
// to the peak.
struct Online {
  float peak = -kInfinity;
  float sum = 0.0f;
};

template <typename Type>
class AttentionTile {
 public:
  // The whole block, for one segment. Peak and sum of the weights of each row that sees some of it
  // go to on_weights(row, Online), called by one lane; sums of the outputs to
  // on_output(row, dimension, x), after that and a barrier.
  template <Simt S, typename OnWeights, typename OnOutput>
  static constexpr void attend(S& s, const AttentionArgs& args, const AttentionRows& rows,
                               int segment, bool has_queries, OnWeights on_weights,
                               OnOutput on_output) {
    const int start = segment * kScores;
    if constexpr (kTerms == 2) measure(s, args, rows, start);
    for (int dim = 0; dim < args.kv.head_dim; dim += kQueryDims) {
      if (!has_queries || args.kv.head_dim > kQueryDims) {
        s.barrier();  // those of before have been read
        put_queries(s, args, rows, dim);
      }
      s.barrier();
      score(s, args, rows, start, dim);
    }
    s.barrier();
    weigh(s, args, rows, start, on_weights);
    s.barrier();
    add_values(s, args, rows, start, on_output);
    s.barrier();
  }

 private:
  using Cache = CacheTerms<Type>;
  static constexpr int kTerms = Cache::kTerms;
  static constexpr int kScores = static_cast<int>(kAttentionSegment);
  // Words from row to row: four more than a multiple of 32, so that eight rows are in other banks.
  static constexpr int kQueryStride = kQueryDims + 4, kScoreStride = kScores + 4;

  struct Queries;  // tags of shared memory
  struct Scores;
  struct QueryFactors;
  struct OutputFactors;
  struct KeyScales;
  struct ValueScales;

  // High terms of kQueryDims dimensions, two to a word; then the low ones.
  template <Simt S>
  static constexpr auto queries(S& s) {
    return s.template shared<Queries, int32_t, kTileRows * kQueryStride>();
  }
  // First sums of products as f32; then of the weights the high terms, two to a word, and the low.
  template <Simt S>
  static constexpr auto scores(S& s) {
    return s.template shared<Scores, int32_t, kTileRows * kScoreStride>();
  }
  // What makes a sum of products a score, and a sum of weights times values an output.
  template <Simt S>
  static constexpr auto query_factors(S& s) {
    return s.template shared<QueryFactors, float, kTileRows>();
  }
  template <Simt S>
  static constexpr auto output_factors(S& s) {
    return s.template shared<OutputFactors, float, kTileRows>();
  }
  // Of each position, where rows are not f16.
  template <typename Tag, Simt S>
  static constexpr auto scales(S& s) {
    return s.template shared<Tag, float, kScores>();
  }
  template <typename Tag, Simt S>
  static constexpr float scale_of(S& s, int position) {
    if constexpr (kTerms == 2)
      return scales<Tag>(s).load(position);
    else
      return 1.0f;
  }

  // Both terms of columns 2 w and 2 w + 1 of a row.
  template <Simt S, typename Words>
  static constexpr void put_pair(const Words& words, int row, int n_cols, int w, float x, float y) {
    const TwoTerms a = two_terms<S>(x), b = two_terms<S>(y);
    const int at = row + w / 8 * 8 + word_slot(w % 8);
    words.store(at, pair_of(a.high, b.high));
    words.store(at + n_cols / 2, pair_of(a.low, b.low));
  }

  // Scales of the positions of a segment: a thread has one of K and of V.
  template <Simt S>
  static constexpr void measure(S& s, const AttentionArgs& args, const AttentionRows& rows,
                                int start) {
    const Span seen = part_of(rows.seen, start);
    const int n = Cache::n_magnitudes(static_cast<int>(args.kv.head_dim));
    for (int p = seen.from + s.thread(); p < seen.to; p += s.n_threads()) {
      const auto scale_of_row = [&](void* plane) {
        const uint8_t* row = kv_row<Type>(args.kv, plane, rows.sequence, start + p, rows.kv_head);
        float most = 0;
        for (int i = 0; i < n; ++i) most = larger(most, Cache::template magnitude<S>(row, i));
        return scale_to_f16(most);
      };
      scales<KeyScales>(s).store(p, scale_of_row(args.kv.k));
      scales<ValueScales>(s).store(p, scale_of_row(args.kv.v));
    }
  }

  // Dimensions first_dim .. first_dim + kQueryDims - 1; zeros behind the last, and for rows that
  // are not there.
  template <Simt S>
  static constexpr void put_queries(S& s, const AttentionArgs& args, const AttentionRows& rows,
                                    int first_dim) {
    const int head_dim = static_cast<int>(args.kv.head_dim);
    for (int r = s.wave(); r < kTileRows; r += s.n_waves()) {
      const float* q = args.q.data;
      int n = 0;
      if (r < rows.size()) {
        q = row_of(args.q, rows.token_of(r)) + int64_t{rows.head_of(r)} * head_dim;
        n = head_dim;
      }
      float most[1] = {0.0f};
      for (int d = s.lane(); d < n; d += S::kWave)
        most[0] = larger(most[0], q[d] < 0 ? -q[d] : q[d]);
      s.reduce_max(most);
      const float scale = scale_to_f16(most[0]);
      if (s.lane() == 0) query_factors(s).store(r, args.scale * inverse_power(scale));
      for (int w = s.lane(); w < kQueryDims / 2; w += S::kWave) {
        const int d = first_dim + 2 * w;
        put_pair<S>(queries(s), r * kQueryStride, kQueryDims, w, d < n ? q[d] * scale : 0.0f,
                    d < n ? q[d + 1] * scale : 0.0f);
      }
    }
  }

  // What a lane holds of 16 columns, each the sum of terms.
  template <typename Layout>
  struct Columns {
    typename Tile<Layout>::Cols term[kTerms];
    // Word j of the i'th run of the c'th column.
    constexpr int32_t& at(int t, int c, int i, int j) {
      using Runs = LaneRuns<Layout>;
      return term[t].word[c * Runs::kWords + j * Runs::kRuns + i];
    }
  };

  // use(i, load(i)) for i from `from` on, each loaded while the one before is used; where a lane
  // holds whole columns there are no registers for that.
  template <typename Layout, typename Load, typename Use>
  static constexpr void one_ahead(int from, int to, Load load, Use use) {
    if constexpr (LaneRuns<Layout>::kRuns == 1) {
      Columns<Layout> next = load(from);
      for (int i = from; i < to; ++i) {
        const Columns<Layout> now = next;
        if (i + 1 < to) next = load(i + 1);
        use(i, now);
      }
    } else {
      for (int i = from; i < to; ++i) use(i, load(i));
    }
  }

  // Adds q k over kQueryDims dimensions; a column is a position. Those that no row sees are not
  // read: the nearest that one sees stands for them.
  template <Simt S>
  static constexpr void score(S& s, const AttentionArgs& args, const AttentionRows& rows, int start,
                              int first_dim) {
    using Layout = typename S::TileLayout;
    const int head_dim = static_cast<int>(args.kv.head_dim);
    const Span seen = part_of(rows.seen, start);
    const auto sums = scores(s);
    const int n_steps = (clamped(head_dim - first_dim, kQueryDims) + 15) / 16;
    for (int block = seen.from / 16 + s.wave(); 16 * block < seen.to; block += s.n_waves()) {
      const uint8_t* keys[Layout::kLaneCols];
      float key_scales[Layout::kLaneCols];
      for (int c = 0; c < Layout::kLaneCols; ++c) {
        const int p = seen.nearest(16 * block + LaneRuns<Layout>::col_of(s.lane(), c));
        keys[c] = kv_row<Type>(args.kv, args.kv.k, rows.sequence, start + p, rows.kv_head);
        key_scales[c] = scale_of<KeyScales>(s, p);
      }
      typename Tile<Layout>::Floats high{}, low{};
      one_ahead<Layout>(
          0, n_steps,
          [&](int step) { return load_keys(s, keys, key_scales, first_dim + 16 * step, head_dim); },
          [&](int step, const Columns<Layout>& k) {
            multiply(s, queries(s), 8 * step, kQueryDims / 2, kQueryStride, k, high, low);
          });
      for (int i = 0; i < Layout::kSums; ++i) {
        const TilePlace place = Layout::sum(s.lane(), i);
        const int at = place.row * kScoreStride + 16 * block + place.word;
        float sum = high.value[i] + low.value[i];
        if (first_dim > 0) sum += std::bit_cast<float>(sums.load(at));
        sums.store(at, std::bit_cast<int32_t>(sum));
      }
    }
  }
  // Dimensions dim .. dim + 15, zeros behind the last.
  template <Simt S, int kCols>
  static constexpr auto load_keys(S& s, const uint8_t* const (&keys)[kCols],
                                  const float (&key_scales)[kCols], int dim, int head_dim) {
    using Runs = LaneRuns<typename S::TileLayout>;
    Columns<typename S::TileLayout> columns{};
    for (int c = 0; c < kCols; ++c)
      for (int i = 0; i < Runs::kRuns; ++i) {
        const int d = dim + 4 * Runs::first_of(s.lane(), i);
        if (d >= head_dim) continue;
        const auto terms = Cache::template load<S, 4>(keys[c], d, key_scales[c]);
        for (int t = 0; t < kTerms; ++t)
          for (int j = 0; j < 2; ++j)
            columns.at(t, c, i, j) = static_cast<int32_t>(terms.word[t][j]);
      }
    return columns;
  }

  // rows (high terms at `at`, low ones n_words behind them) times columns; the sum is high + low.
  template <Simt S, typename Words, typename Columns, typename Floats>
  static constexpr void multiply(S& s, const Words& words, int at, int n_words, int stride,
                                 const Columns& cols, Floats& high, Floats& low) {
    const auto row_high = load_rows(s, words, at, stride);
    const auto row_low = load_rows(s, words, at + n_words, stride);
    s.multiply_f16(row_high, cols.term[0], high);
    s.multiply_f16(row_low, cols.term[0], low);
    if constexpr (kTerms == 2) s.multiply_f16(row_high, cols.term[1], low);
  }

  // Sums of products -> weights relative to the peak, as terms.
  template <Simt S, typename OnWeights>
  static constexpr void weigh(S& s, const AttentionArgs& args, const AttentionRows& rows, int start,
                              OnWeights on_weights) {
    constexpr int kPairs = kScores / 2 / S::kWave;
    const auto words = scores(s);
    for (int r = s.wave(); r < kTileRows; r += s.n_waves()) {
      if (r >= rows.size()) {  // the whole wave
        for (int i = s.lane(); i < kScores; i += S::kWave) words.store(r * kScoreStride + i, 0);
        continue;
      }
      const Span seen = part_of(visible(args, rows.token_of(r)), start);
      const float factor = query_factors(s).load(r);
      float x[2 * kPairs];
      float peak[1] = {-kInfinity};
      for (int i = 0; i < 2 * kPairs; ++i) {
        const int at = 2 * (s.lane() + i / 2 * S::kWave) + i % 2;
        x[i] = 0.0f;
        if (!seen.has(at)) continue;
        x[i] = std::bit_cast<float>(words.load(r * kScoreStride + at)) * factor *
               inverse_power(scale_of<KeyScales>(s, at));
        if (args.softcap > 0.0f) x[i] = args.softcap * S::tanh(x[i] / args.softcap);
        peak[0] = larger(peak[0], x[i]);
      }
      s.reduce_max(peak);
      float sum[1] = {0.0f}, most[1] = {0.0f};
      for (int i = 0; i < 2 * kPairs; ++i) {
        const int at = 2 * (s.lane() + i / 2 * S::kWave) + i % 2;
        if (!seen.has(at)) continue;
        x[i] = S::exp(x[i] - peak[0]);
        sum[0] += x[i];
        x[i] *= inverse_power(scale_of<ValueScales>(s, at));
        most[0] = larger(most[0], x[i]);
      }
      s.reduce_add(sum);
      s.reduce_max(most);
      s.wave_sync();  // every lane has read the sums
      const float scale = scale_to_f16(most[0]);
      for (int i = 0; i < kPairs; ++i)
        put_pair<S>(words, r * kScoreStride, kScores, s.lane() + i * S::kWave, x[2 * i] * scale,
                    x[2 * i + 1] * scale);
      if (s.lane() != 0) continue;
      output_factors(s).store(r, inverse_power(scale));
      if (seen.from < seen.to) on_weights(r, Online{peak[0], sum[0]});
    }
  }

  // Sums over the positions of weights times values. A column is a dimension.
  template <Simt S, typename OnOutput>
  static constexpr void add_values(S& s, const AttentionArgs& args, const AttentionRows& rows,
                                   int start, OnOutput on_output) {
    using Layout = typename S::TileLayout;
    const int head_dim = static_cast<int>(args.kv.head_dim);
    const Span seen = part_of(rows.seen, start);
    for (int dim = 16 * s.wave(); dim < head_dim; dim += 16 * s.n_waves()) {
      const int d = dim + Layout::neighbour(LaneRuns<Layout>::col_of(s.lane(), 0));
      typename Tile<Layout>::Floats high{}, low{};
      bool has_left_out = false;
      one_ahead<Layout>(
          seen.from / 16, (seen.to + 15) / 16,
          [&](int block) {
            return load_values(s, args.kv, rows, start, seen, block, d, has_left_out);
          },
          [&](int block, const Columns<Layout>& v) {
            multiply(s, scores(s), 8 * block, kScores / 2, kScoreStride, v, high, low);
          });
      if (s.ballot(has_left_out) != 0) add_left_out(s, args, rows, start, dim, high);
      for (int i = 0; i < Layout::kSums; ++i) {
        const TilePlace place = Layout::sum(s.lane(), i);
        const int at = dim + Layout::neighbour(place.word);
        if (place.row >= rows.size() || at >= head_dim) continue;
        on_output(place.row, at,
                  (high.value[i] + low.value[i]) * output_factors(s).load(place.row));
      }
    }
  }
  // 16 positions at the lane's dimensions, of which d is the first. What is not finite is left
  // out: a weight of 0 would not keep it from a row that does not see it.
  template <Simt S>
  static constexpr auto load_values(S& s, const KvView& kv, const AttentionRows& rows, int start,
                                    Span seen, int block, int d, bool& has_left_out) {
    using Layout = typename S::TileLayout;
    using Runs = LaneRuns<Layout>;
    Columns<Layout> columns{};
    if (d >= kv.head_dim) return columns;
    const int row_bytes = static_cast<int>(kv_row_bytes<Type>(kv.head_dim));
    const uint8_t* values = kv_row<Type>(kv, kv.v, rows.sequence, start + 16 * block,
                                         rows.kv_head);  // all 16 are in its page
    for (int i = 0; i < Runs::kRuns; ++i) {
      Terms<kTerms, Layout::kLaneCols> terms[4];  // of four positions
      for (int j = 0; j < 4; ++j) {
        const int p = seen.nearest(16 * block + 4 * Runs::first_of(s.lane(), i) + j);
        terms[j] = Cache::template load<S, Layout::kLaneCols>(values + (p - 16 * block) * row_bytes,
                                                              d, scale_of<ValueScales>(s, p));
      }
      for (int c = 0; c < Layout::kLaneCols; ++c)
        for (int j = 0; j < 2; ++j) {
          const auto word = [&](int t) {
            return pair_of(terms[2 * j].at(t, c), terms[2 * j + 1].at(t, c));
          };
          const uint32_t odd = not_finite(static_cast<uint32_t>(word(0)));
          has_left_out |= odd != 0;
          for (int t = 0; t < kTerms; ++t)
            columns.at(t, c, i, j) = word(t) & static_cast<int32_t>(~odd);
        }
    }
    return columns;
  }
  // What load_values left out, to the sums of the rows that see it.
  template <Simt S, typename Floats>
  static constexpr void add_left_out(S& s, const AttentionArgs& args, const AttentionRows& rows,
                                     int start, int dim, Floats& sums) {
    using Layout = typename S::TileLayout;
    const Span seen = part_of(rows.seen, start);
    for (int p = seen.from; p < seen.to; ++p) {
      const uint8_t* value =
          kv_row<Type>(args.kv, args.kv.v, rows.sequence, start + p, rows.kv_head);
      for (int i = 0; i < Layout::kSums; ++i) {
        const TilePlace place = Layout::sum(s.lane(), i);
        const int at = dim + Layout::neighbour(place.word);
        if (place.row >= rows.size() || at >= args.kv.head_dim) continue;
        const float v = Type::template load<S>(value, at);
        if (v - v == 0.0f || !visible(args, rows.token_of(place.row)).has(start + p)) continue;
        const int word =
            scores(s).load(place.row * kScoreStride + p / 16 * 8 + word_slot(p / 2 % 8));
        sums.value[i] +=
            v * S::from_f16(static_cast<uint16_t>(static_cast<uint32_t>(word) >> (16 * (p % 2))));
      }
    }
  }
};

}  // namespace olx::kernels::simt
