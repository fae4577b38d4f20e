#pragma once
// StepCosts: what a step of n generated tokens takes on this machine now, learned from the steps
// that are made. Used by the Speculator to see whether more columns pay.

#include <array>
#include <cstdint>

namespace olx::engine {

class StepCosts {
 public:
  static constexpr int kMaxColumns = 16;

  void count(int n_columns, int64_t ns);
  // In nanoseconds once a step was measured, before that in units of a step of one column. Never
  // falls as n_columns grows.
  double expected(int n_columns) const;

 private:
  struct Entry {
    double ns = 0;  // 0: never measured
    int64_t measured_at = 0;
  };
  bool is_known(const Entry& entry) const {
    return entry.ns > 0 && n_steps_ - entry.measured_at <= kForgotten;
  }
  // A figure that was bad for a passing reason must not keep its count of columns from ever being
  // tried again.
  static constexpr int64_t kForgotten = 1000;
  std::array<Entry, kMaxColumns + 1> entries_;
  int64_t n_steps_ = 0;
};

}  // namespace olx::engine
