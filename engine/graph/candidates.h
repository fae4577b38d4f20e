#pragma once
// The largest logits of a step, found on the device that made them, so that a few of them cross to
// the processor and not a vocabulary's. Two nodes behind those of a plan: of each slice of a row,
// then of what the slices left. Used by Plan.

#include <array>
#include <cstdint>
#include <memory>
#include <span>

#include "kernels/api/args.h"
#include "kernels/api/backend.h"

namespace olx::engine {

// Of one row, largest first; equal ones by id. A row with fewer that are not -inf has -inf with id
// -1 behind them; one with a NaN begins with a NaN, and the rest of it means nothing.
struct CandidateRow {
  std::span<const float> logits;
  std::span<const int32_t> ids;
};

class Candidates {
 public:
  static constexpr int64_t kSliceCols = 4096;  // of a row, a block's

  // For at most n_rows rows of n_cols logits. Throws DeviceError without memory. `lender`: another
  // one for the same device and rows as long, whose memory is used where it is enough; it outlives
  // this one.
  Candidates(kernels::Device& device, int64_t n_rows, int64_t n_cols, Candidates* lender);
  // Whether the device has what it takes.
  static bool are_offered(const kernels::DeviceInfo& device, int64_t n_cols);
  static uint64_t needed_bytes(int64_t n_rows, int64_t n_cols);

  // The nodes that find k of each row of `logits`, 1 .. kTopKMax.
  std::span<const kernels::BoundNode> nodes() const { return {nodes_.data(), n_nodes_}; }
  void set(const kernels::MatrixView& logits, int64_t k);
  // Of the step last set and run.
  CandidateRow row(int64_t i) const;
  uint64_t own_bytes() const { return own_buffer_ ? own_buffer_->size_bytes() : 0; }

 private:
  std::unique_ptr<kernels::Buffer> own_buffer_;  // nullptr: the lender's is used
  kernels::Buffer* buffer_ = nullptr;
  std::array<kernels::TopKArgs, 2> args_;
  std::array<kernels::BoundNode, 2> nodes_;
  size_t n_nodes_ = 0;  // one where a row is a slice
};

}  // namespace olx::engine
