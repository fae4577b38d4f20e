#pragma once
// The doubles behind f32 values. Ops pass f32 to each other, and a network of a hundred ops can magnify those roundings
// beyond what a reference may be off. Buffers of the reference device therefore remember the double of each f32 that a
// reference kernel wrote. Elsewhere (tests, other devices' memory) there is none, and the f32 is the value.

#include <cstddef>
#include <cstdint>

#include "kernels/api/tensor_view.h"

namespace olx::kernels::reference {

// Says that `wide` holds one zeroed double for each four bytes of [data, data + size_bytes). Thread-safe.
void add_wide_memory(const void* data, size_t size_bytes, double* wide);
void remove_wide_memory(const void* data);
// The double behind the f32 at `data`, those of its neighbours beside it; nullptr where there is none.
double* find_wide(const void* data);

// f32 values with what is behind them. A double that does not round to its f32 is out of date (others may write the
// buffer too) and ignored; so the value is right to half a unit in the last place whatever happened.
class WideValues {
 public:
  explicit WideValues(const float* values) : values_(values), wide_(values ? find_wide(values) : nullptr) {}
  double operator[](int64_t i) const {
    if (wide_ != nullptr && static_cast<float>(wide_[i]) == values_[i]) return wide_[i];
    return values_[i];
  }

 private:
  const float* values_;
  const double* wide_;
};

class WideMatrix {
 public:
  explicit WideMatrix(const MatrixView& view) : values_(view.data), stride_(view.row_stride_elems) {}
  double at(int64_t row, int64_t col) const { return values_[row * stride_ + col]; }

 private:
  WideValues values_;
  int64_t stride_;
};

}  // namespace olx::kernels::reference
