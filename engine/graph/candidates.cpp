#include "engine/graph/candidates.h"

#include <cstddef>

#include "gguf/check.h"
#include "kernels/api/registry.h"

namespace olx::engine {

using namespace kernels;  // NOLINT: the Args struct and its limits

namespace {

int64_t n_slices_of(int64_t n_cols) {
  return (n_cols + Candidates::kSliceCols - 1) / Candidates::kSliceCols;
}

const KernelRow* find_row(const DeviceInfo& device) {
  return KernelRegistry::instance().select({.op = Op::kTopK}, device);
}

// Values and ids, of the slices and of the row.
int64_t row_elems(int64_t n_cols) { return (n_slices_of(n_cols) + 1) * kTopKMax * 2; }

}  // namespace

bool Candidates::are_offered(const DeviceInfo& device, int64_t n_cols) {
  return n_cols <= INT32_MAX && find_row(device) != nullptr;
}

uint64_t Candidates::needed_bytes(int64_t n_rows, int64_t n_cols) {
  return static_cast<uint64_t>(n_rows * row_elems(n_cols)) * sizeof(float);
}

Candidates::Candidates(Device& device, int64_t n_rows, int64_t n_cols, Candidates* lender)
    : n_nodes_(n_slices_of(n_cols) > 1 ? 2 : 1) {
  const uint64_t size_bytes = needed_bytes(n_rows, n_cols);
  if (lender != nullptr && lender->buffer_->size_bytes() >= size_bytes) {
    buffer_ = lender->buffer_;
  } else {
    own_buffer_ = device.allocate(static_cast<size_t>(size_bytes));
    buffer_ = own_buffer_.get();
  }
  const KernelRow* row = find_row(device.info());
  OLX_CHECK(row != nullptr && buffer_->host() != nullptr);
  for (size_t i = 0; i < nodes_.size(); ++i) nodes_[i] = {.kernel = row, .args = &args_[i]};
}

void Candidates::set(const MatrixView& logits, int64_t k) {
  OLX_CHECK(k >= 1 && k <= kTopKMax);
  const int64_t n_slices = n_slices_of(logits.n_cols);
  auto* next = static_cast<float*>(buffer_->data());
  MatrixView x = logits;
  const int32_t* ids = nullptr;
  for (size_t i = 0; i < n_nodes_; ++i) {
    const bool is_last = i + 1 == n_nodes_;
    const int64_t n_cols = (is_last ? 1 : n_slices) * k, n_elems = x.n_rows * n_cols;
    TopKArgs& args = args_[i];
    args.x = x;
    args.x_ids = ids;
    args.k = k;
    args.slice_cols = is_last ? x.n_cols : kSliceCols;
    args.y = {next, x.n_rows, n_cols, n_cols};
    args.y_ids = reinterpret_cast<int32_t*>(next + n_elems);
    next += 2 * n_elems;
    x = args.y;
    ids = args.y_ids;
  }
}

CandidateRow Candidates::row(int64_t i) const {
  const TopKArgs& last = args_[n_nodes_ - 1];
  OLX_CHECK(i >= 0 && i < last.y.n_rows);
  const auto n = static_cast<size_t>(last.k);
  return {.logits = {last.y.row(i), n}, .ids = {last.y_ids + i * last.y.row_stride_elems, n}};
}

}  // namespace olx::engine
