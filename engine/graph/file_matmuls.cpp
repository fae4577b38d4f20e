#include "engine/graph/file_matmuls.h"

#include <algorithm>
#include <cstdint>
#include <type_traits>
#include <utility>

#include "gguf/check.h"
#include "gguf/dtype.h"

namespace olx::engine {

using kernels::BoundNode;
using kernels::MatmulArgs;
using kernels::RowRange;

namespace {

// Rows at a time: their bytes, as they lie in the file and packed, stay in the second cache level, with the tokens that pass. Where
// these do not stay there anyway, they pass as seldom as loaded weights would make them.
constexpr int64_t kBytes = 256 << 10;
constexpr int64_t kBytesOfManyTokens = 2 << 20;
constexpr int64_t kMostTokensOfCache = 128;

}  // namespace

FileMatmuls::FileMatmuls(const gguf::GgufFile& file, const WeightTable& table, const WeightStore& weights)
    : file_(file), table_(table), weights_(weights) {}

BoundNode FileMatmuls::instead_of(const BoundNode& node, int weight) {
  static_assert(std::is_standard_layout_v<Matmul>);
  if (node.kernel->op != kernels::Op::kMatmul || !weights_.is_only_multiplied(weight)) return node;
  OLX_CHECK(node.kernel->run != nullptr);
  Matmul& matmul = matmuls_.emplace_back(
      Matmul{*static_cast<const MatmulArgs*>(node.args), *node.kernel, node.kernel, table_[weight].tensor, this});
  matmul.stand_in.run = &FileMatmuls::run;
  return {.kernel = &matmul.stand_in, .args = &matmul, .order = node.order};
}

void FileMatmuls::end_step() {
  matmuls_.clear();
  if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
}

// On a thread of the device, which no exception may leave.
void FileMatmuls::run(const void* args, RowRange range) {
  const auto& matmul = *static_cast<const Matmul*>(args);
  FileMatmuls& owner = *matmul.owner;
  try {
    std::unique_ptr<Space> space = owner.take_space();
    if (space == nullptr) return;  // the step is lost already
    owner.multiply(matmul, range, *space);
    owner.give_back(std::move(space));
  } catch (...) {
    const std::lock_guard lock(owner.mutex_);
    if (!owner.error_) owner.error_ = std::current_exception();
  }
}

void FileMatmuls::multiply(const Matmul& matmul, RowRange range, Space& space) const {
  const kernels::WeightView& w = matmul.args.w;
  const int64_t row_bytes = gguf::row_size_bytes(w.dtype, w.n_cols);
  const int64_t step = rows_within(matmul.args.y.n_rows > kMostTokensOfCache ? kBytesOfManyTokens : kBytes, w);
  const auto bytes_of = [](std::vector<Line>& lines, int64_t size) {
    const auto n = static_cast<size_t>(size + 63) / 64;
    if (lines.size() < n) lines.resize(n);
    return lines.front().bytes;
  };
  for (int64_t from = range.from; from < range.to; from += step) {
    const int64_t n_rows = std::min(step, range.to - from);
    std::byte* native = bytes_of(space.native, n_rows * row_bytes);
    file_.read(*matmul.tensor, static_cast<uint64_t>(from * row_bytes), {native, static_cast<size_t>(n_rows * row_bytes)});
    MatmulArgs args = matmul.args;
    args.w.data = native;
    args.w.n_rows = args.y.n_cols = n_rows;
    if (w.layout != nullptr) {
      args.w.data = bytes_of(space.packed, w.layout->size_bytes(w.dtype, n_rows, w.n_cols));
      w.layout->pack(w.dtype, n_rows, w.n_cols, native, space.packed.front().bytes, {0, n_rows});
    }
    args.y.data += from;
    if (args.bias != nullptr) args.bias += from;
    if (args.residual != nullptr) args.residual += from;
    matmul.kernel->run(&args, {0, n_rows});
  }
}

std::unique_ptr<FileMatmuls::Space> FileMatmuls::take_space() {
  const std::lock_guard lock(mutex_);
  if (error_) return nullptr;
  if (spaces_.empty()) return std::make_unique<Space>();
  std::unique_ptr<Space> space = std::move(spaces_.back());
  spaces_.pop_back();
  return space;
}

void FileMatmuls::give_back(std::unique_ptr<Space> space) {
  const std::lock_guard lock(mutex_);
  spaces_.push_back(std::move(space));
}

}  // namespace olx::engine
