#pragma once
// Attention over cache pages. A block makes a tile of a line, which is a (kv head, split of the
// context): as many tokens of one sequence that follow each other as fill 16 rows with their query
// heads of the kv head (attention_tile.h), which is one token for a token made alone and many in a
// prompt. How the tokens are cut is the same for all lines; of a line that a range holds in part,
// tiles are made in part.
//
// One order of sums for every token, whoever else is in the batch and however the context is split:
// softmax over segments of kAttentionSegment positions, counted from position 0; then the segments,
// in order. A split leaves its segments in args.scratch, and the last split of a (kv head, token)
// to arrive joins them all.

#include <bit>

#include "kernels/simt/attention_tile.h"

namespace olx::kernels::simt {

constexpr int kAttentionThreads = 256;
constexpr int kMaxHeadDim = 512;

// What a lane loads at once lies in one row, and 16 positions in one page; the bound is that of two
// terms (terms.h).
inline bool accepts_tiles(const AttentionArgs& args) {
  return args.kv.head_dim >= 16 && args.kv.head_dim <= kMaxHeadDim && args.kv.head_dim % 4 == 0 &&
         args.kv.page_tokens % 16 == 0;
}

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

template <typename Type>
struct Attention {
  template <int kWave>
  static Grid grid(const AttentionArgs& args, RowRange range) {
    int64_t n_tiles = 0;
    for (int token = 0; token < args.q.n_rows; ++token) n_tiles += begins_tile(args, token) ? 1 : 0;
    return {n_tiles * lines_of(args, range).size(), kAttentionThreads};
  }

  template <Simt S>
  static constexpr void run(S& s, const AttentionArgs& args, RowRange range) {
    const auto n_tokens = static_cast<int>(args.q.n_rows),
               n_splits = static_cast<int>(args.n_splits), group = group_of(args);
    const Span lines = lines_of(args, range);
    const auto block = static_cast<int>(s.block());  // a division of 64 bits is a loop on a device
    const int line = lines.from + block % lines.size();
    const int64_t unit = int64_t{line} * n_tokens;  // the line's first
    const Span in_range{static_cast<int>(larger(range.from - unit, int64_t{0})),
                        static_cast<int>(smaller(range.to - unit, n_tokens))};
    const Span tokens = common(tokens_of_tile(s, args, block / lines.size()), in_range);
    const int token = tokens.from, n = tokens.size(), kv_head = line / n_splits,
              split = line % n_splits;
    if (n <= 0) return;
    Span seen = visible(args, token);
    for (int i = 1; i < n; ++i) seen = hull(seen, visible(args, token + i));
    Span segments = segments_of(seen), of_batch = segments;
    if (n_splits > 1) {
      of_batch = segments_of_batch(args);
      segments = common(segments, {of_batch.from + of_batch.size() * split / n_splits,
                                   of_batch.from + of_batch.size() * (split + 1) / n_splits});
    }
    for (int h = 0; h < group; h += kTileRows) {
      const AttentionRows rows{kv_head,
                               token,
                               n,
                               kv_head * group + h,
                               clamped(group - h, kTileRows),
                               args.tokens[token].sequence,
                               seen};
      for (int segment = segments.from; segment < segments.to; ++segment) {
        const bool has_queries = segment > segments.from;
        if (n_splits == 1)
          attend(s, args, rows, segment, has_queries);
        else
          attend_apart(s, args, rows, segment, has_queries, of_batch);
      }
    }
    if (n_splits == 1) return;
    for (int t = token; t < token + n; ++t)
      if (is_last_to_arrive(s, args, int64_t{kv_head} * n_tokens + t))
        for (int h = 0; h < group; ++h) join_partials(s, args, t, kv_head * group + h, of_batch);
  }

 private:
  struct Totals;  // tags of shared memory
  struct Joints;
  struct Arrival;

  static constexpr Span segments_of(Span span) {
    constexpr int kSize = static_cast<int>(kAttentionSegment);
    return {span.from / kSize, (span.to + kSize - 1) / kSize};
  }
  static constexpr Span segments_of_batch(const AttentionArgs& args) {
    Span all = visible(args, 0);
    for (int64_t token = 1; token < args.q.n_rows; ++token) all = hull(all, visible(args, token));
    return segments_of(all);
  }
  static constexpr int group_of(const AttentionArgs& args) {
    return static_cast<int>(args.n_heads) / static_cast<int>(args.kv.n_kv_heads);
  }
  // Those of which a range has units.
  static constexpr Span lines_of(const AttentionArgs& args, RowRange range) {
    return {static_cast<int>(range.from / args.q.n_rows),
            static_cast<int>((range.to - 1) / args.q.n_rows) + 1};
  }
  static constexpr bool begins_tile(const AttentionArgs& args, int token) {
    const int group = group_of(args), width = group < kTileRows ? kTileRows / group : 1;
    return token % width == 0 || args.tokens[token].sequence != args.tokens[token - 1].sequence;
  }
  // Every wave looks for it, a token a lane.
  template <Simt S>
  static constexpr Span tokens_of_tile(S& s, const AttentionArgs& args, int tile) {
    const auto n_tokens = static_cast<int>(args.q.n_rows);
    Span tokens{n_tokens, n_tokens};
    for (int first = 0; first < n_tokens; first += S::kWave) {
      const int token = first + s.lane();
      uint64_t begins = s.ballot(token < n_tokens && begins_tile(args, token));
      for (; begins != 0; begins &= begins - 1) {
        const int begin = first + std::countr_zero(begins);
        if (tile-- == 0) tokens.from = begin;
        if (tile == -2) return {tokens.from, begin};
      }
    }
    return tokens;
  }
  // Where a segment of a head of a token is left: its peak and sum, then head_dim outputs.
  static constexpr float* partial(const AttentionArgs& args, int64_t token, int64_t head,
                                  int segment, Span of_batch) {
    const int64_t index = (token * args.n_heads + head) * of_batch.size() + segment - of_batch.from;
    return args.scratch + kAttentionCounters + index * (args.kv.head_dim + 2);
  }

  // The sink enters the denominator alone; returns what outputs are multiplied with.
  template <Simt S>
  static constexpr float normaliser(const AttentionArgs& args, int64_t head, Online state) {
    if (args.sinks == nullptr) return 1.0f / state.sum;
    const float highest = larger(args.sinks[head], state.peak),
                rescale = S::exp(state.peak - highest);
    return rescale / (state.sum * rescale + S::exp(args.sinks[head] - highest));
  }

  // Without splits: y holds the sum of the segments so far, and in the end is normalised.
  template <Simt S>
  static constexpr void attend(S& s, const AttentionArgs& args, const AttentionRows& rows,
                               int segment, bool has_queries) {
    auto totals = s.template shared<Totals, float, 2 * kTileRows>();
    auto joints = s.template shared<Joints, float, 3 * kTileRows>();
    const auto place_of = [&](int row) {
      struct Place {
        bool is_seen;
        bool is_first;
        bool is_last;
      };
      const Span all = segments_of(visible(args, rows.token_of(row)));
      return Place{all.has(segment), segment == all.from, segment == all.to - 1};
    };
    AttentionTile<Type>::attend(
        s, args, rows, segment, has_queries,
        [&](int row, Online added) {
          Online total;
          if (!place_of(row).is_first) total = {totals.load(2 * row), totals.load(2 * row + 1)};
          const Joint joint = join<S>(total, added);
          totals.store(2 * row, joint.state.peak);
          totals.store(2 * row + 1, joint.state.sum);
          joints.store(3 * row, joint.of_a);
          joints.store(3 * row + 1, joint.of_b);
          joints.store(3 * row + 2, place_of(row).is_last
                                        ? normaliser<S>(args, rows.head_of(row), joint.state)
                                        : 1.0f);
        },
        [&](int row, int dim, float x) {
          const auto place = place_of(row);
          if (!place.is_seen) return;
          float& y = row_of(args.y, rows.token_of(row))[rows.head_of(row) * args.kv.head_dim + dim];
          const float total =
              place.is_first ? x : y * joints.load(3 * row) + x * joints.load(3 * row + 1);
          y = total * joints.load(3 * row + 2);
        });
  }

  // With splits: the segment goes to the scratch.
  template <Simt S>
  static constexpr void attend_apart(S& s, const AttentionArgs& args, const AttentionRows& rows,
                                     int segment, bool has_queries, Span of_batch) {
    const auto partial_of = [&](int row) {
      return partial(args, rows.token_of(row), rows.head_of(row), segment, of_batch);
    };
    AttentionTile<Type>::attend(
        s, args, rows, segment, has_queries,
        [&](int row, Online added) {
          partial_of(row)[0] = added.peak;
          partial_of(row)[1] = added.sum;
        },
        [&](int row, int dim, float x) {
          if (segments_of(visible(args, rows.token_of(row))).has(segment))
            partial_of(row)[2 + dim] = x;
        });
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
      for (int segment = segments.from; segment < segments.to; ++segment) {
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
