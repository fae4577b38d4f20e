#pragma once
// Attention over cache pages. A block is a (kv head, split of the context, token): all query heads
// of the kv head, eight at a time, so that K and V are read once for them. A wave scores a
// position, its lanes along head_dim; a wave weighs a head; a thread sums a dimension of V.
//
// One order of sums for every token, whoever else is in the batch and however the context is split:
// online softmax over blocks of kChunk positions within a segment of kAttentionSegment, both
// counted from position 0; then the segments, in order. A split leaves its segments in
// args.scratch, and the last split of a (kv head, token) to arrive joins them all.

#include "kernels/simt/kv_store.h"

namespace olx::kernels::simt {

constexpr int kAttentionThreads = 128;
constexpr int kHeads = 8;  // query heads that share a pass over K and V
constexpr int kMaxHeadDim = 512;
constexpr int64_t kChunk = 64;
static_assert(kAttentionSegment % kChunk == 0 && kHeads <= kMaxReduce);

inline bool accepts_head_dim(const AttentionArgs& args) { return args.kv.head_dim <= kMaxHeadDim; }

// Softmax over some positions: outputs beside it are sums of weight times value, weights relative
// to the peak.
struct Online {
  float peak = -kInfinity;
  float sum = 0.0f;
};

// What a's and b's outputs are multiplied with when b, of the positions behind a's, is added to a.
struct Joint {
  Online state;
  float of_a;
  float of_b;
};
template <Simt S>
constexpr Joint join(Online a, Online b) {
  if (a.sum == 0.0f) return {b, 0.0f, 1.0f};
  const float peak = larger(a.peak, b.peak);
  const float of_a = S::exp(a.peak - peak), of_b = S::exp(b.peak - peak);
  return {{peak, a.sum * of_a + b.sum * of_b}, of_a, of_b};
}

template <typename Row>
struct Attention {
  template <int kWave>
  static Grid grid(const AttentionArgs&, RowRange range) {
    return {range.size(), kAttentionThreads};
  }

  template <Simt S>
  static constexpr void run(S& s, const AttentionArgs& args, RowRange range) {
    const int64_t unit = range.from + s.block(), n_tokens = args.q.n_rows, n_splits = args.n_splits;
    const int64_t kv_head = unit / (n_tokens * n_splits), split = unit / n_tokens % n_splits,
                  token = unit % n_tokens;
    const int64_t group = args.n_heads / args.kv.n_kv_heads;
    Span segments = segments_of(visible(args, token)), of_batch = segments;
    if (n_splits > 1) {
      of_batch = segments_of_batch(args);
      segments = {of_batch.from + of_batch.size() * split / n_splits,
                  of_batch.from + of_batch.size() * (split + 1) / n_splits};
    }
    for (int64_t h = 0; h < group; h += kHeads) {
      const Pass pass{kv_head, token, kv_head * group + h,
                      static_cast<int>(smaller(group - h, kHeads)), visible(args, token)};
      if (n_splits == 1)
        attend_all(s, args, pass, segments);
      else
        attend_split(s, args, pass, segments, of_batch);
    }
    if (n_splits == 1 || !is_last_to_arrive(s, args, kv_head * n_tokens + token)) return;
    for (int64_t h = 0; h < group; ++h)
      join_partials(s, args, token, kv_head * group + h, of_batch);
  }

 private:
  struct Span {  // of positions, or of segments
    int64_t from;
    int64_t to;
    constexpr int64_t size() const { return to - from; }
  };
  struct Pass {
    int64_t kv_head;
    int64_t token;
    int64_t head;  // the first of n_heads
    int n_heads;
    Span seen;
  };
  struct Outputs;  // tags of shared memory
  struct Totals;
  struct Scores;
  struct State;
  struct TotalState;
  struct Arrival;

  static constexpr Span visible(const AttentionArgs& args, int64_t token) {
    const int64_t position = args.tokens[token].position;
    return {args.sliding_window > 0 ? larger(position - args.sliding_window + 1, int64_t{0}) : 0,
            position + 1};
  }
  static constexpr Span segments_of(Span span) {
    return {span.from / kAttentionSegment, (span.to + kAttentionSegment - 1) / kAttentionSegment};
  }
  static constexpr Span segments_of_batch(const AttentionArgs& args) {
    Span all = visible(args, 0);
    for (int64_t token = 1; token < args.q.n_rows; ++token) {
      const Span span = visible(args, token);
      all = {smaller(all.from, span.from), larger(all.to, span.to)};
    }
    return segments_of(all);
  }
  // Where a segment of a head of a token is left: its peak and sum, then head_dim outputs.
  static constexpr float* partial(const AttentionArgs& args, int64_t token, int64_t head,
                                  int64_t segment, Span of_batch) {
    const int64_t index = (token * args.n_heads + head) * of_batch.size() + segment - of_batch.from;
    return args.scratch + kAttentionCounters + index * (args.kv.head_dim + 2);
  }

  // The positions of one segment: sums in Outputs, softmax in State, which is {peak, sum, rescale}
  // a head.
  template <Simt S>
  static constexpr void attend_segment(S& s, const AttentionArgs& args, const Pass& pass,
                                       int64_t segment) {
    auto outputs = s.template shared<Outputs, float, kHeads * kMaxHeadDim>();
    auto state = s.template shared<State, float, 3 * kHeads>();
    const int64_t head_dim = args.kv.head_dim, start = segment * kAttentionSegment;
    s.barrier();  // the segment before has been read
    for (int64_t i = s.thread(); i < pass.n_heads * head_dim; i += s.n_threads())
      outputs.store(i, 0.0f);
    if (s.thread() < pass.n_heads) {
      state.store(3 * s.thread(), -kInfinity);
      state.store(3 * s.thread() + 1, 0.0f);
    }
    s.barrier();
    for (int64_t chunk = start; chunk < start + kAttentionSegment; chunk += kChunk) {
      const Span span{larger(pass.seen.from, chunk), smaller(pass.seen.to, chunk + kChunk)};
      if (span.from >= span.to) continue;
      score(s, args, pass, span);
      s.barrier();
      weigh(s, pass, span);
      s.barrier();
      accumulate(s, args, pass, span);
      s.barrier();
    }
  }

  template <Simt S>
  static constexpr void score(S& s, const AttentionArgs& args, const Pass& pass, Span span) {
    auto scores = s.template shared<Scores, float, kHeads * kChunk>();
    const int64_t head_dim = args.kv.head_dim, sequence = args.tokens[pass.token].sequence;
    const float* q = row_of(args.q, pass.token) + pass.head * head_dim;
    for (int64_t p = span.from + s.wave(); p < span.to; p += s.n_waves()) {
      const uint8_t* k = kv_row<Row>(args.kv, args.kv.k, sequence, p, pass.kv_head);
      float sums[kHeads] = {};
      for (int64_t d = s.lane(); d < head_dim; d += S::kWave) {
        const float x = Row::template load<S>(k, d);
        for (int h = 0; h < kHeads; ++h)
          if (h < pass.n_heads) sums[h] += q[h * head_dim + d] * args.scale * x;
      }
      s.reduce_add(sums);
      for (int h = 0; h < kHeads; ++h) {
        if (s.lane() != h || h >= pass.n_heads) continue;
        scores.store(h * kChunk + p % kChunk, args.softcap > 0.0f
                                                  ? args.softcap * S::tanh(sums[h] / args.softcap)
                                                  : sums[h]);
      }
    }
  }

  // Scores -> weights in place, relative to the peak so far; what is in Outputs has to be
  // multiplied with `rescale`.
  template <Simt S>
  static constexpr void weigh(S& s, const Pass& pass, Span span) {
    auto scores = s.template shared<Scores, float, kHeads * kChunk>();
    auto state = s.template shared<State, float, 3 * kHeads>();
    const int64_t from = span.from % kChunk, n = span.size();
    for (int h = s.wave(); h < pass.n_heads; h += s.n_waves()) {
      float most[1] = {-kInfinity};
      for (int64_t i = s.lane(); i < n; i += S::kWave)
        most[0] = larger(most[0], scores.load(h * kChunk + from + i));
      s.reduce_max(most);
      const float old_peak = state.load(3 * h), old_sum = state.load(3 * h + 1),
                  peak = larger(most[0], old_peak);
      float sum[1] = {0};
      for (int64_t i = s.lane(); i < n; i += S::kWave) {
        const float weight = S::exp(scores.load(h * kChunk + from + i) - peak);
        scores.store(h * kChunk + from + i, weight);
        sum[0] += weight;
      }
      s.reduce_add(sum);
      s.wave_sync();  // every lane has read the state
      if (s.lane() != 0) continue;
      const float rescale = old_sum > 0.0f ? S::exp(old_peak - peak) : 0.0f;
      state.store(3 * h, peak);
      state.store(3 * h + 1, old_sum * rescale + sum[0]);
      state.store(3 * h + 2, rescale);
    }
  }

  template <Simt S>
  static constexpr void accumulate(S& s, const AttentionArgs& args, const Pass& pass, Span span) {
    auto outputs = s.template shared<Outputs, float, kHeads * kMaxHeadDim>();
    auto scores = s.template shared<Scores, float, kHeads * kChunk>();
    auto state = s.template shared<State, float, 3 * kHeads>();
    const int64_t head_dim = args.kv.head_dim, sequence = args.tokens[pass.token].sequence;
    for (int64_t d = s.thread(); d < head_dim; d += s.n_threads()) {
      float sums[kHeads] = {};
      for (int h = 0; h < kHeads; ++h)
        if (h < pass.n_heads) sums[h] = outputs.load(h * head_dim + d) * state.load(3 * h + 2);
      for (int64_t p = span.from; p < span.to; ++p) {
        const float x =
            Row::template load<S>(kv_row<Row>(args.kv, args.kv.v, sequence, p, pass.kv_head), d);
        for (int h = 0; h < kHeads; ++h)
          if (h < pass.n_heads) sums[h] += scores.load(h * kChunk + p % kChunk) * x;
      }
      for (int h = 0; h < kHeads; ++h)
        if (h < pass.n_heads) outputs.store(h * head_dim + d, sums[h]);
    }
  }

  // The sink enters the denominator alone; returns what outputs are multiplied with.
  template <Simt S>
  static constexpr float normaliser(const AttentionArgs& args, int64_t head, Online state) {
    if (args.sinks == nullptr) return 1.0f / state.sum;
    const float highest = larger(args.sinks[head], state.peak),
                rescale = S::exp(state.peak - highest);
    return rescale / (state.sum * rescale + S::exp(args.sinks[head] - highest));
  }

  // Without splits: every segment of the token, joined as they come.
  template <Simt S>
  static constexpr void attend_all(S& s, const AttentionArgs& args, const Pass& pass,
                                   Span segments) {
    auto outputs = s.template shared<Outputs, float, kHeads * kMaxHeadDim>();
    auto totals = s.template shared<Totals, float, kHeads * kMaxHeadDim>();
    auto state = s.template shared<State, float, 3 * kHeads>();
    const int64_t head_dim = args.kv.head_dim;
    Online total[kHeads];  // every thread keeps them
    for (int64_t segment = segments.from; segment < segments.to; ++segment) {
      attend_segment(s, args, pass, segment);
      for (int h = 0; h < kHeads; ++h) {
        if (h >= pass.n_heads) continue;
        const Joint joint = join<S>(total[h], {state.load(3 * h), state.load(3 * h + 1)});
        const bool is_first = total[h].sum == 0.0f;
        total[h] = joint.state;
        for (int64_t d = s.thread(); d < head_dim; d += s.n_threads()) {
          const int64_t i = h * head_dim + d;
          totals.store(i, is_first ? outputs.load(i)
                                   : totals.load(i) * joint.of_a + outputs.load(i) * joint.of_b);
        }
      }
    }
    float* y = row_of(args.y, pass.token) + pass.head * head_dim;
    for (int h = 0; h < kHeads; ++h) {
      if (h >= pass.n_heads) continue;
      const float factor = normaliser<S>(args, pass.head + h, total[h]);
      for (int64_t d = s.thread(); d < head_dim; d += s.n_threads())
        y[h * head_dim + d] = totals.load(h * head_dim + d) * factor;
    }
  }

  template <Simt S>
  static constexpr void attend_split(S& s, const AttentionArgs& args, const Pass& pass,
                                     Span segments, Span of_batch) {
    auto outputs = s.template shared<Outputs, float, kHeads * kMaxHeadDim>();
    auto state = s.template shared<State, float, 3 * kHeads>();
    const int64_t head_dim = args.kv.head_dim;
    const Span seen = segments_of(pass.seen);
    for (int64_t segment = larger(segments.from, seen.from);
         segment < smaller(segments.to, seen.to); ++segment) {
      attend_segment(s, args, pass, segment);
      for (int64_t i = s.thread(); i < pass.n_heads * head_dim; i += s.n_threads())
        partial(args, pass.token, pass.head + i / head_dim, segment, of_batch)[2 + i % head_dim] =
            outputs.load(i);
      if (s.thread() < pass.n_heads)
        for (int i = 0; i < 2; ++i)
          partial(args, pass.token, pass.head + s.thread(), segment, of_batch)[i] =
              state.load(3 * s.thread() + i);
    }
  }

  // Counts this block in; true in every thread of the block that was the last, which leaves the
  // counter as it was found.
  template <Simt S>
  static constexpr bool is_last_to_arrive(S& s, const AttentionArgs& args, int64_t counter) {
    auto arrival = s.template shared<Arrival, int32_t, 1>();
    auto* arrived = static_cast<uint32_t*>(static_cast<void*>(args.scratch)) + counter;
    s.barrier();
    if (s.thread() == 0) {
      const bool is_last = s.atomic_add(arrived, 1u) + 1 == static_cast<uint32_t>(args.n_splits);
      if (is_last) *arrived = 0;
      arrival.store(0, is_last ? 1 : 0);
    }
    s.barrier();
    return arrival.load(0) != 0;
  }

  template <Simt S>
  static constexpr void join_partials(S& s, const AttentionArgs& args, int64_t token, int64_t head,
                                      Span of_batch) {
    const int64_t head_dim = args.kv.head_dim;
    const Span segments = segments_of(visible(args, token));
    float* y = row_of(args.y, token) + head * head_dim;
    for (int64_t d = s.thread(); d < head_dim; d += s.n_threads()) {
      Online state;
      float total = 0;
      for (int64_t segment = segments.from; segment < segments.to; ++segment) {
        const float* from = partial(args, token, head, segment, of_batch);
        const Joint joint = join<S>(state, {from[0], from[1]});
        total = state.sum == 0.0f ? from[2 + d] : total * joint.of_a + from[2 + d] * joint.of_b;
        state = joint.state;
      }
      y[d] = total * normaliser<S>(args, head, state);
    }
  }
};

}  // namespace olx::kernels::simt
