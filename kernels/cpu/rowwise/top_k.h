#pragma once
// The largest values of a row, written once over Simd as elementwise.h. Internal linkage.
//
// What was found is kept sorted. A block of columns is looked at one by one only where it holds something larger than the last of
// these, which soon is seldom. Not where ids come with the values, which are few: of equal ones a later id may be the lower.

#include <cstdint>

#include "kernels/api/args.h"

namespace olx::kernels::cpu {
namespace {

class Largest {
 public:
  explicit Largest(int64_t k) : k_(k) {}
  // What comes later and is not larger cannot be one of them.
  float least() const { return n_ < k_ ? kNone : values_[k_ - 1]; }
  void add(float value, int32_t id) {
    if (n_ == k_ && !is_before(value, id, n_ - 1)) return;
    if (!(value > kNone)) return;
    int64_t at = n_ < k_ ? n_++ : n_ - 1;
    for (; at > 0 && is_before(value, id, at - 1); --at) {
      values_[at] = values_[at - 1];
      ids_[at] = ids_[at - 1];
    }
    values_[at] = value;
    ids_[at] = id;
  }
  void store(float* y, int32_t* y_ids) const {
    for (int64_t i = 0; i < k_; ++i) {
      y[i] = i < n_ ? values_[i] : kNone;
      y_ids[i] = i < n_ ? ids_[i] : -1;
    }
  }

 private:
  static constexpr float kNone = -__builtin_inff();
  bool is_before(float value, int32_t id, int64_t i) const { return value > values_[i] || (value == values_[i] && id < ids_[i]); }

  int64_t k_, n_ = 0;
  float values_[kTopKMax];
  int32_t ids_[kTopKMax];
};

inline void top_k(const TopKArgs& args, RowRange range) {
  constexpr int64_t kVectors = 4;  // of a block
  for (int64_t unit = range.from; unit < range.to; ++unit) {
    const int64_t token = unit / args.n_slices(), slice = unit % args.n_slices();
    const float* x = args.x.row(token);
    const int32_t* ids = args.x_ids != nullptr ? args.x_ids + token * args.x.row_stride_elems : nullptr;
    const int64_t end = (slice + 1) * args.slice_cols;
    const int64_t to = end < args.x.n_cols ? end : args.x.n_cols;
    Largest found(args.k);
    bool has_nan = false;
    const auto look_at = [&](int64_t col) {
      has_nan |= x[col] != x[col];
      found.add(x[col], ids != nullptr ? ids[col] : static_cast<int32_t>(col));
    };
    int64_t col = slice * args.slice_cols;
    for (; ids == nullptr && col + kVectors * Simd::kLanes <= to; col += kVectors * Simd::kLanes) {
      const Simd::F least = Simd::set(found.least());
      bool is_wanted = false;
      for (int64_t i = 0; i < kVectors; ++i) is_wanted |= !Simd::are_at_most(Simd::load(x + col + i * Simd::kLanes), least);
      if (!is_wanted) continue;
      for (int64_t i = 0; i < kVectors * Simd::kLanes; ++i) look_at(col + i);
    }
    for (; col < to; ++col) look_at(col);
    float* y = args.y.row(token) + slice * args.k;
    found.store(y, args.y_ids + token * args.y.row_stride_elems + slice * args.k);
    if (has_nan) *y = __builtin_nanf("");
  }
}

}  // namespace
}  // namespace olx::kernels::cpu
