// The k largest of each slice of a row, by sorting it.

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/reference/oracle.h"
#include "kernels/reference/sink.h"

namespace olx::kernels::reference {
namespace {

struct Entry {
  float value;
  int32_t id;
};

// store(token, column of y, entry) for each slice of the range.
template <typename Store>
void top_k(const TopKArgs& args, RowRange range, Store&& store) {
  constexpr float kNone = -std::numeric_limits<float>::infinity();
  std::vector<Entry> entries;
  for (int64_t unit = range.from; unit < range.to; ++unit) {
    const int64_t token = unit / args.n_slices(), slice = unit % args.n_slices();
    const int64_t to = std::min((slice + 1) * args.slice_cols, args.x.n_cols);
    bool has_nan = false;
    entries.clear();
    for (int64_t col = slice * args.slice_cols; col < to; ++col) {
      const float value = args.x.row(token)[col];
      const int32_t id = args.x_ids != nullptr ? args.x_ids[token * args.x.row_stride_elems + col]
                                               : static_cast<int32_t>(col);
      has_nan = has_nan || std::isnan(value);
      if (value > kNone) entries.push_back({value, id});
    }
    std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
      return a.value != b.value ? a.value > b.value : a.id < b.id;
    });
    if (has_nan) entries.assign(1, {std::numeric_limits<float>::quiet_NaN(), -1});
    entries.resize(static_cast<size_t>(args.k), {kNone, -1});
    for (int64_t i = 0; i < args.k; ++i)
      store(token, slice * args.k + i, entries[static_cast<size_t>(i)]);
  }
}

}  // namespace

void top_k_reference(const TopKArgs& args, RowRange range) {
  top_k(args, range, [&](int64_t token, int64_t col, const Entry& entry) {
    args.y.row(token)[col] = entry.value;
    args.y_ids[token * args.y.row_stride_elems + col] = entry.id;
  });
}

Expected evaluate(const TopKArgs& args) {
  const int64_t n = args.y.n_cols;
  Record sink(args.y.n_rows, 2 * n);
  top_k(args, {0, args.rows()}, [&](int64_t token, int64_t col, const Entry& entry) {
    sink(token, col, entry.value, 0);
    sink(token, n + col, entry.id, 0);
  });
  return std::move(sink.expected);
}

}  // namespace olx::kernels::reference
