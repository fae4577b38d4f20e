#pragma once
// The k largest of each slice of a row: a block a slice. Each thread knows the best of its columns
// that have not been taken; the best of these is taken, k times, and who had it looks again. No
// column is marked: values and ids are in an order without equals, so what is left is what comes
// behind the last one taken.

#include "kernels/simt/elementwise.h"

namespace olx::kernels::simt {

struct TopK {
  template <int kWave>
  static Grid grid(const TopKArgs&, RowRange range) {
    return {range.size(), kRowThreads};
  }

  template <Simt S>
  static constexpr void run(S& s, const TopKArgs& args, RowRange range) {
    const int64_t unit = range.from + s.block();
    const int64_t n_slices = (args.x.n_cols + args.slice_cols - 1) / args.slice_cols;
    const int64_t token = unit / n_slices, slice = unit % n_slices;
    const Slice from{row_of(args.x, token),
                     args.x_ids == nullptr ? nullptr : args.x_ids + token * args.x.row_stride_elems,
                     slice * args.slice_cols,
                     smaller((slice + 1) * args.slice_cols, args.x.n_cols)};
    float* y = row_of(args.y, token) + slice * args.k;
    int32_t* ids = args.y_ids + token * args.y.row_stride_elems + slice * args.k;

    float not_a_number = 0;
    for (int64_t col = from.from + s.thread(); col < from.to; col += s.n_threads())
      if (from.x[col] != from.x[col]) not_a_number = 1;
    const bool has_nan = block_max(s, not_a_number) > 0;
    if (has_nan) {
      for (int64_t i = s.thread(); i < args.k; i += s.n_threads()) {
        y[i] = i == 0 ? __builtin_nanf("") : -kInfinity;
        ids[i] = -1;
      }
      return;
    }
    Entry own = best_behind(s, from, {kInfinity, -1});
    for (int64_t i = 0; i < args.k; ++i) {
      const Entry best = best_of_block(s, own, static_cast<int>(i % 2));
      if (s.thread() == 0) {
        y[i] = best.value;
        ids[i] = best.value > -kInfinity ? best.id : -1;
      }
      if (best.value > -kInfinity && own.value == best.value && own.id == best.id)
        own = best_behind(s, from, best);
    }
  }

 private:
  struct Entry {
    float value;
    int32_t id;
    constexpr bool is_before(const Entry& other) const {
      return value > other.value || (value == other.value && id < other.id);
    }
  };
  static constexpr int32_t kNoId = 0x7fffffff;  // behind all others
  struct Slice {
    const float* x;
    const int32_t* ids;
    int64_t from;
    int64_t to;
    constexpr Entry at(int64_t col) const {
      return {x[col], ids != nullptr ? ids[col] : static_cast<int32_t>(col)};
    }
  };

  // Of this thread's columns.
  template <Simt S>
  static constexpr Entry best_behind(S& s, const Slice& slice, const Entry& last) {
    Entry best{-kInfinity, kNoId};
    for (int64_t col = slice.from + s.thread(); col < slice.to; col += s.n_threads()) {
      const Entry entry = slice.at(col);
      if (entry.value > -kInfinity && last.is_before(entry) && entry.is_before(best)) best = entry;
    }
    return best;
  }

  // Two buffers, taken in turn: whoever writes one has passed the barrier behind which all have
  // read it.
  template <Simt S>
  static constexpr Entry best_of_block(S& s, Entry best, int buffer) {
    constexpr int kMaxWaves = kRowThreads / S::kWave;
    struct Values;
    struct Ids;
    auto values = s.template shared<Values, float, 2 * kMaxWaves>();
    auto ids = s.template shared<Ids, int32_t, 2 * kMaxWaves>();
    for (int mask = S::kWave / 2; mask > 0; mask /= 2) {
      const Entry other{s.shuffle_xor(best.value, mask), s.shuffle_xor(best.id, mask)};
      if (other.is_before(best)) best = other;
    }
    const int first = buffer * kMaxWaves;
    if (s.lane() == 0) {
      values.store(first + s.wave(), best.value);
      ids.store(first + s.wave(), best.id);
    }
    s.barrier();
    for (int wave = 0; wave < s.n_waves(); ++wave) {
      const Entry other{values.load(first + wave), ids.load(first + wave)};
      if (other.is_before(best)) best = other;
    }
    return best;
  }
};

}  // namespace olx::kernels::simt
