// All matrix products of one layer, over as many copies of the layer as fill half a gigabyte.

#include <algorithm>
#include <cstring>
#include <map>
#include <stdexcept>

#include "bench/workload.h"
#include "tests/kernels/contract/case.h"
#include "tests/kernels/contract/check_row.h"

namespace olx::bench {
namespace {

using namespace kernels;

constexpr int64_t kColdBytes = 512ll << 20;
constexpr int64_t kMaxCopies = 256;
constexpr int64_t kPoolRows = 64;     // different rows of a matrix: drawing every weight would take minutes
constexpr int64_t kCheckedRows = 16;  // of every matrix, held against the oracle

class MatmulWorkload final : public Workload {
 public:
  MatmulWorkload(const KernelRow& row, const ModelShape& shape, const WorkloadOptions& options, Device& device);
  std::string set_tokens(int64_t n_tokens) override;
  std::span<const std::vector<BoundNode>> executions() const override { return executions_; }
  double bytes() const override;
  double operations() const override;
  bool is_cold() const override { return static_cast<int64_t>(args_.size()) * weight_bytes_ >= kColdBytes / 4; }
  double check(Device& device) override;

 private:
  struct Input {  // activations of one width
    MatrixView x;
    Buffer* encoded = nullptr;  // nullptr: the row takes x itself
  };
  Buffer& allocate(int64_t size_bytes) {
    buffers_.push_back(device_.allocate(static_cast<size_t>(size_bytes)));
    return *buffers_.back();
  }
  const void* pack(const Matrix& matrix, const std::vector<std::byte>& pool);

  const KernelRow& row_;
  const ModelShape& shape_;
  Device& device_;
  const KernelRow* quantize_ = nullptr;
  std::vector<std::unique_ptr<Buffer>> buffers_;
  std::map<int64_t, Input> inputs_;               // by width
  std::map<int64_t, std::vector<std::byte>> pools_;  // native rows, by width
  std::vector<std::vector<MatmulArgs>> args_;     // [copy][matrix]
  std::vector<std::vector<BoundNode>> executions_;
  int64_t weight_bytes_ = 0;  // of a layer
};

MatmulWorkload::MatmulWorkload(const KernelRow& row, const ModelShape& shape, const WorkloadOptions& options, Device& device)
    : row_(row), shape_(shape), device_(device) {
  const int64_t block = std::max(gguf::dtype_info(row.dtype).block_elems, row.activation->block_elems);
  for (const Matrix& matrix : shape.layer)
    if (matrix.n_cols % block != 0)
      throw std::runtime_error(matrix.name + ": expected rows of a multiple of " + std::to_string(block) + " columns, got " +
                               std::to_string(matrix.n_cols));
  if (!is_rows(*row.activation))
    quantize_ = &contract::quantize_row_for(row, KernelRegistry::instance().rows(), device.info().features);
  std::vector<const void*> packed;
  std::vector<int64_t> sizes;
  std::vector<MatrixView> outputs;
  for (const Matrix& matrix : shape.layer) {
    Input& input = inputs_[matrix.n_cols];
    std::vector<std::byte>& pool = pools_[matrix.n_cols];
    contract::Rng rng(1, matrix.name);
    if (pool.empty()) {
      pool = contract::random_weights(row.dtype, kPoolRows, matrix.n_cols, contract::Values::kRandom, rng);
      auto* x = static_cast<float*>(allocate(options.max_tokens * matrix.n_cols * 4).data());
      input.x = {x, options.max_tokens, matrix.n_cols, matrix.n_cols};
      contract::fill(input.x, contract::Values::kRandom, 1, rng);
      if (quantize_ != nullptr) input.encoded = &allocate(row.activation->size_bytes(options.max_tokens, matrix.n_cols));
    }
    outputs.push_back({static_cast<float*>(allocate(options.max_tokens * matrix.n_rows * 4).data()), options.max_tokens, matrix.n_rows, matrix.n_rows});
    packed.push_back(pack(matrix, pool));
    sizes.push_back(row.layout != nullptr ? row.layout->size_bytes(row.dtype, matrix.n_rows, matrix.n_cols)
                                          : matrix.n_rows * gguf::row_size_bytes(row.dtype, matrix.n_cols));
    weight_bytes_ += sizes.back();
  }
  const int64_t n_copies = std::clamp<int64_t>(kColdBytes / weight_bytes_, 1, kMaxCopies);
  args_.resize(static_cast<size_t>(n_copies));
  executions_.resize(args_.size());
  for (size_t copy = 0; copy < args_.size(); ++copy) {
    args_[copy].resize(shape.layer.size());
    for (size_t i = 0; i < shape.layer.size(); ++i) {
      const Matrix& matrix = shape.layer[i];
      const void* weights = packed[i];
      if (copy > 0) weights = std::memcpy(allocate(sizes[i]).data(), packed[i], static_cast<size_t>(sizes[i]));
      args_[copy][i] = {.y = outputs[i], .w = {weights, row.dtype, row.layout, matrix.n_rows, matrix.n_cols}};
      executions_[copy].push_back({&row, &args_[copy][i], matrix.shares_input ? NodeOrder::kIndependent : NodeOrder::kAfterAll});
    }
  }
}

// Row i of a matrix is row i % kPoolRows of the pool.
const void* MatmulWorkload::pack(const Matrix& matrix, const std::vector<std::byte>& pool) {
  const auto row_bytes = static_cast<size_t>(gguf::row_size_bytes(row_.dtype, matrix.n_cols));
  std::vector<std::byte> native(row_bytes * static_cast<size_t>(matrix.n_rows));
  for (size_t at = 0; at < native.size(); at += pool.size())
    std::memcpy(native.data() + at, pool.data(), std::min(pool.size(), native.size() - at));
  if (row_.layout == nullptr) {
    void* data = allocate(static_cast<int64_t>(native.size())).data();
    return std::memcpy(data, native.data(), native.size());
  }
  void* data = allocate(row_.layout->size_bytes(row_.dtype, matrix.n_rows, matrix.n_cols)).data();
  row_.layout->pack(row_.dtype, matrix.n_rows, matrix.n_cols, native.data(), data, {0, matrix.n_rows});
  return data;
}

std::string MatmulWorkload::set_tokens(int64_t n_tokens) {
  std::map<int64_t, ActivationView> views;
  for (auto& [n_cols, input] : inputs_) {
    input.x.n_rows = n_tokens;
    ActivationView& view = views[n_cols];
    view = {input.x.data, is_rows(*row_.activation) ? row_.activation : &kActivationF32, n_tokens, n_cols, n_cols};
    if (quantize_ == nullptr) continue;
    view = {input.encoded->data(), row_.activation, n_tokens, n_cols, 0, prompt_tokens(n_tokens)};
    QuantizeArgs args{view, input.x};
    const BoundNode node{quantize_, &args};
    device_.execute({&node, 1});
    device_.sync();
  }
  for (std::vector<MatmulArgs>& layer : args_)
    for (MatmulArgs& args : layer) {
      args.x = views[args.w.n_cols];
      args.y.n_rows = n_tokens;
      if (std::string refusal = validate(Op::kMatmul, &args); !refusal.empty()) return refusal;
      if (row_.accepts != nullptr && !row_.accepts(&args)) return "the kernel does not accept these arguments";
    }
  return "";
}

double MatmulWorkload::bytes() const {
  double total = static_cast<double>(weight_bytes_);
  for (const MatmulArgs& args : args_[0]) {
    const ActivationFormat& format = *args.x.format;
    total += static_cast<double>(quantize_ != nullptr ? format.size_bytes(args.x.n_tokens, args.x.n_cols) : args.x.n_tokens * args.x.n_cols * 4);
    total += static_cast<double>(args.y.n_rows * args.y.n_cols * 4);
  }
  return total;
}

double MatmulWorkload::operations() const {
  double total = 0;
  for (const MatmulArgs& args : args_[0]) total += 2.0 * static_cast<double>(args.w.n_rows * args.w.n_cols) * static_cast<double>(args.y.n_rows);
  return total;
}

double MatmulWorkload::check(Device& device) {
  device.execute(executions_[0]);
  device.sync();
  double worst = 0;
  for (const MatmulArgs& args : args_[0]) {
    const int64_t n_checked = std::min(kCheckedRows, args.w.n_rows);
    const int64_t row_bytes = gguf::row_size_bytes(row_.dtype, args.w.n_cols);
    const std::vector<std::byte>& pool = pools_[args.w.n_cols];
    std::vector<std::byte> native(static_cast<size_t>(n_checked * row_bytes));
    std::vector<int64_t> rows;
    for (int64_t i = 0; i < n_checked; ++i) {  // the first, the last and some between
      rows.push_back(n_checked == 1 ? 0 : i * (args.w.n_rows - 1) / (n_checked - 1));
      std::memcpy(native.data() + i * row_bytes, pool.data() + rows.back() % kPoolRows * row_bytes, static_cast<size_t>(row_bytes));
    }
    MatmulArgs sample = args;
    sample.w = {native.data(), row_.dtype, nullptr, n_checked, args.w.n_cols};
    sample.y = {nullptr, args.y.n_rows, n_checked, n_checked};
    std::vector<float> got;
    for (int64_t token = 0; token < args.y.n_rows; ++token)
      for (int64_t row : rows) got.push_back(args.y.row(token)[row]);
    worst = std::max(worst, contract::share_of_bound(reference::evaluate(sample), got));
  }
  return worst;
}

}  // namespace

std::unique_ptr<Workload> make_matmul_workload(const KernelRow& row, const ModelShape& shape, const WorkloadOptions& options, Device& device) {
  return std::make_unique<MatmulWorkload>(row, shape, options, device);
}

}  // namespace olx::bench
