#pragma once
// Where a reference op puts an element. Each op is one template over a sink, so that the runnable kernel and the
// oracle are the same arithmetic: StoreF32 rounds once into the output (and leaves the double behind it, see wide.h),
// Record keeps the double and its bound.

#include "kernels/reference/oracle.h"
#include "kernels/reference/wide.h"

namespace olx::kernels::reference {

// Half a unit in the last place of f32, relative.
inline constexpr double kHalfUlp = 0x1p-24;

struct StoreF32 {
  static constexpr bool kWantsBound = false;
  MatrixView y;
  double* wide;
  explicit StoreF32(const MatrixView& view) : y(view), wide(find_wide(view.data)) {}
  void operator()(int64_t row, int64_t col, double value, double) const {
    y.row(row)[col] = static_cast<float>(value);
    if (wide != nullptr) wide[row * y.row_stride_elems + col] = value;
  }
};

struct Record {
  static constexpr bool kWantsBound = true;
  Expected expected;
  Record(int64_t n_rows, int64_t n_cols)
      : expected{n_rows, n_cols, std::vector<double>(static_cast<size_t>(n_rows * n_cols)),
                 std::vector<double>(static_cast<size_t>(n_rows * n_cols))} {}
  void operator()(int64_t row, int64_t col, double value, double bound) {
    const auto i = static_cast<size_t>(row * expected.n_cols + col);
    expected.value[i] = value;
    expected.bound[i] = bound;
  }
};

// Runs `op(args, all rows, sink)` with a Record of the output's shape.
template <typename Args, typename OpTemplate>
Expected record(const Args& args, const MatrixView& y, OpTemplate&& op) {
  Record sink(y.n_rows, y.n_cols);
  op(args, RowRange{0, args.rows()}, sink);
  return std::move(sink.expected);
}

}  // namespace olx::kernels::reference
