#include "engine/model/weight_store.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <string>

#include "engine/error.h"
#include "engine/graph/plan.h"
#include "gguf/check.h"
#include "gguf/quantize.h"

namespace olx::engine {

using kernels::KernelRegistry;
using kernels::Op;

// Rows [from, to) of one weight: the unit of reading and packing.
struct WeightStore::Slice {
  int weight = 0;
  int64_t from = 0;
  int64_t to = 0;
  int64_t native_bytes = 0;
};

namespace {

// Enough to amortise a read, small enough that staging stays in cache.
constexpr int64_t kSliceBytes = 1 << 20;
// Slices between two looks at on_progress.
constexpr int64_t kBytesPerProgress = 64 << 20;

// Of activations of the last matmul. With int8 ones (a step of 1/254), a fifth of the divergence of SmolLM2's logits
// from the truth, and most wrong arg-maxes, came from this one matmul of 211 (golden prompts, Q4_1).
constexpr double kFineStep = 1e-4;

int64_t matrix_bytes(const kernels::WeightView& view) {
  if (view.layout != nullptr) return view.layout->size_bytes(view.dtype, view.n_rows, view.n_cols);
  return gguf::row_size_bytes(view.dtype, view.n_cols) * view.n_rows;
}

}  // namespace

int64_t rows_within(int64_t n_bytes, const kernels::WeightView& matrix) {
  const int64_t multiple = matrix.layout != nullptr ? matrix.layout->row_multiple : 1;
  return std::max<int64_t>(1, n_bytes / (gguf::row_size_bytes(matrix.dtype, matrix.n_cols) * multiple)) * multiple;
}

WeightStore::WeightStore(const Graph& graph, const WeightTable& table, kernels::Device& device,
                         int64_t n_tokens)
    : device_(device) {
  const KernelRegistry& registry = KernelRegistry::instance();
  stored_.resize(table.weights().size());
  offsets_.assign(table.weights().size(), -1);
  std::vector<bool> is_used(table.weights().size(), false);
  is_only_multiplied_.assign(table.weights().size(), true);
  for (const GraphNode& node : graph.nodes) {
    for (int weight : {node.weight, node.bias}) {
      if (weight == kNoWeight) continue;
      is_used[static_cast<size_t>(weight)] = true;
      if (node.op() != Op::kMatmul || weight == node.bias) is_only_multiplied_[static_cast<size_t>(weight)] = false;
    }
    if (node.op() != Op::kMatmul) continue;
    const Weight& weight = table[node.weight];
    kernels::MatmulArgs args;
    args.w = {.dtype = weight.tensor->dtype, .n_rows = weight.n_rows, .n_cols = weight.n_cols};
    args.x = {.n_tokens = n_tokens, .n_cols = weight.n_cols, .row_stride_elems = weight.n_cols};
    args.y = {.n_rows = n_tokens, .n_cols = weight.n_rows, .row_stride_elems = weight.n_rows};
    KernelRegistry::Query query{.op = Op::kMatmul, .dtype = weight.tensor->dtype, .args = &args};
    const kernels::KernelRow* row = registry.select(query, device.info());
    if (row == nullptr) throw missing_kernel(Op::kMatmul, weight.tensor->dtype, device.info());
    if (node.is_last_matmul) {
      query.max_step = kFineStep;
      const kernels::KernelRow* fine = registry.select(query, device.info());
      // Only for the same packing, so of as wide vectors: precision is not bought with a multiple of the time.
      if (fine != nullptr && fine->layout == row->layout) row = fine;
    }
    stored_[static_cast<size_t>(node.weight)].matmul = row;
  }
  int64_t end = 0;
  for (size_t i = 0; i < stored_.size(); ++i) {
    if (!is_used[i]) continue;
    const Weight& weight = table.weights()[i];
    Stored& stored = stored_[i];
    int64_t bytes = weight.n_cols * static_cast<int64_t>(sizeof(float));
    if (!weight.is_vector) {
      stored.view = {.dtype = weight.tensor->dtype,
                     .layout = stored.matmul != nullptr ? stored.matmul->layout : nullptr,
                     .n_rows = weight.n_rows,
                     .n_cols = weight.n_cols};
      bytes = matrix_bytes(stored.view);
    }
    offsets_[i] = end;
    if (is_only_multiplied_[i]) multiplied_bytes_ += static_cast<uint64_t>(bytes);
    end += (bytes + 63) / 64 * 64;
  }
  size_bytes_ = static_cast<uint64_t>(end);
}

std::vector<WeightStore::Slice> WeightStore::make_slices(const WeightTable& table, Portion portion) const {
  std::vector<Slice> slices;
  for (size_t i = 0; i < stored_.size(); ++i) {
    if (offsets_[i] < 0) continue;
    if (portion != Portion::kAll && (portion == Portion::kMultiplied) != is_only_multiplied_[i]) continue;
    const Weight& weight = table.weights()[i];
    const int64_t row_bytes = gguf::row_size_bytes(weight.tensor->dtype, weight.n_cols);
    const int64_t n_rows = weight.is_vector ? 1 : weight.n_rows;
    const int64_t step = weight.is_vector ? 1 : rows_within(kSliceBytes, stored_[i].view);
    for (int64_t from = 0; from < n_rows; from += step) {
      const int64_t to = std::min(n_rows, from + step);
      slices.push_back({static_cast<int>(i), from, to, (to - from) * row_bytes});
    }
  }
  return slices;
}

void WeightStore::load_slice(const gguf::GgufFile& file, const Weight& weight, const Slice& slice,
                             std::vector<std::byte>& staging) {
  const Stored& stored = stored_[static_cast<size_t>(slice.weight)];
  const gguf::DType dtype = weight.tensor->dtype;
  const int64_t row_bytes = gguf::row_size_bytes(dtype, weight.n_cols);
  const auto offset_bytes = static_cast<uint64_t>(slice.from * row_bytes);
  const auto n_bytes = static_cast<size_t>(slice.native_bytes);
  auto* target = static_cast<std::byte*>(arena_->host()) + offsets_[static_cast<size_t>(slice.weight)];
  if (!weight.is_vector && stored.view.layout == nullptr) {
    file.read(*weight.tensor, offset_bytes, {target + offset_bytes, n_bytes});
    return;
  }
  if (staging.size() < n_bytes) staging.resize(n_bytes);
  file.read(*weight.tensor, offset_bytes, {staging.data(), n_bytes});
  if (weight.is_vector) {
    gguf::dequantize_row(dtype, staging.data(), reinterpret_cast<float*>(target), weight.n_cols);
  } else {
    stored.view.layout->pack(dtype, weight.n_rows, weight.n_cols, staging.data(), target,
                             {slice.from, slice.to});
  }
}

void WeightStore::allocate(const WeightTable& table) {
  arena_ = device_.allocate(size_bytes_);
  if (arena_->host() == nullptr) {
    throw EngineError(ErrorCode::kUnsupported, "device " + device_.info().name +
                                                   ": memory the CPU cannot address is not supported yet");
  }
  for (size_t i = 0; i < stored_.size(); ++i) {
    if (offsets_[i] < 0) continue;
    std::byte* data = static_cast<std::byte*>(arena_->data()) + offsets_[i];
    if (table.weights()[i].is_vector) {
      stored_[i].values = reinterpret_cast<const float*>(data);
    } else {
      stored_[i].view.data = data;
    }
  }
}

void WeightStore::load(const gguf::GgufFile& file, const WeightTable& table, Portion portion,
                       const std::function<bool(float)>& on_progress) {
  OLX_CHECK(arena_ != nullptr);
  const std::vector<Slice> slices = make_slices(table, portion);
  int64_t total_bytes = 0;
  for (const Slice& slice : slices) total_bytes += slice.native_bytes;

  struct Job {
    WeightStore* store;
    const gguf::GgufFile* file;
    const WeightTable* table;
    const std::vector<Slice>* slices;
    std::atomic<size_t> next{0};
    size_t end = 0;
    std::mutex mutex;
    std::exception_ptr error;  // the first one
    std::vector<std::vector<std::byte>> staging;
  } job;
  job.store = this;
  job.file = &file;
  job.table = &table;
  job.slices = &slices;
  job.staging.resize(static_cast<size_t>(std::max(1, device_.info().n_threads)));
  const auto work = [](void* context, int part, int) {
    auto& job = *static_cast<Job*>(context);
    try {
      for (size_t i = job.next++; i < job.end; i = job.next++) {
        const Slice& slice = (*job.slices)[i];
        job.store->load_slice(*job.file, (*job.table)[slice.weight], slice,
                              job.staging[static_cast<size_t>(part)]);
      }
    } catch (...) {
      const std::lock_guard lock(job.mutex);
      if (!job.error) job.error = std::current_exception();
    }
  };

  int64_t done_bytes = 0;
  size_t begin = 0;
  while (begin < slices.size()) {
    if (on_progress && !on_progress(static_cast<float>(done_bytes) / static_cast<float>(total_bytes))) {
      throw EngineError(ErrorCode::kCancelled, file.path() + ": loading was cancelled");
    }
    int64_t chunk_bytes = 0;
    size_t end = begin;
    while (end < slices.size() && chunk_bytes < kBytesPerProgress) {
      chunk_bytes += slices[end++].native_bytes;
    }
    job.next = begin;
    job.end = end;
    device_.parallel(work, &job);
    if (job.error) std::rethrow_exception(job.error);
    begin = end;
    done_bytes += chunk_bytes;
  }
  if (on_progress) on_progress(1.0f);
}

}  // namespace olx::engine
