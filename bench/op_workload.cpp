// Every op but the matrix product, at the widths of a model: one set of arguments, which stays in the cache as it does
// in a plan. Attention reads a cache of keys and values that is as long as asked.

#include <algorithm>
#include <cmath>
#include <cstring>

#include "bench/workload.h"
#include "gguf/quantize.h"
#include "kernels/reference/kv.h"
#include "tests/kernels/contract/case.h"
#include "tests/kernels/contract/check_row.h"

namespace olx::bench {
namespace {

using namespace kernels;
using contract::Values;

constexpr int64_t kTableRows = 4096;
constexpr int64_t kPoolRows = 64;  // different rows of a matrix: drawing every weight would take minutes
constexpr int64_t kPageTokens = 32;
constexpr int64_t kCheckedTokens = 4;  // of attention: the oracle takes seconds for a prompt

class OpWorkload final : public Workload {
 public:
  OpWorkload(const KernelRow& row, const ModelShape& shape, const WorkloadOptions& options, Device& device)
      : row_(row), shape_(shape), options_(options), device_(device) {}
  std::string set_tokens(int64_t n_tokens) override;
  std::span<const std::vector<BoundNode>> executions() const override { return executions_; }
  double bytes() const override { return bytes_; }
  double operations() const override { return operations_; }
  bool is_cold() const override { return false; }
  double check(Device& device) override { return check_(device); }

 private:
  void* allocate(int64_t size_bytes) {
    buffers_.push_back(device_.allocate(static_cast<size_t>(size_bytes)));
    return buffers_.back()->data();
  }
  MatrixView matrix(int64_t n_rows, int64_t n_cols, bool is_random) {
    const MatrixView view{static_cast<float*>(allocate(n_rows * n_cols * 4)), n_rows, n_cols, n_cols};
    if (is_random) contract::fill(view, Values::kRandom, 1, rng_);
    return view;
  }
  TokenSlot* tokens(int64_t n_tokens, int64_t first);
  KvView cache(int64_t length, bool is_filled, DType dtype);
  WeightView weights(int64_t n_rows);
  ActivationView rows(int64_t n_tokens);
  // The oracle is asked before the run, since some ops work in place.
  template <typename Args, typename Read>
  void use(const Args& args, double n_elems, Read read);
  void make(int64_t n_tokens);
  void make_attention(int64_t n_tokens);
  void make_kv_store(int64_t n_tokens);
  void make_gated_matmul(int64_t n_tokens);
  MatrixView angles(int64_t n_tokens);
  void make_qkv_matmul(int64_t n_tokens);
  void make_qkv_store(int64_t n_tokens);
  void make_top_k(int64_t n_tokens);

  const KernelRow& row_;
  const ModelShape& shape_;
  const WorkloadOptions options_;
  Device& device_;
  contract::Rng rng_{1, "bench"};
  std::vector<std::unique_ptr<Buffer>> buffers_;
  contract::AnyArgs args_;
  std::vector<std::vector<BoundNode>> executions_;
  std::function<double(Device&)> check_;
  double bytes_ = 0, operations_ = 0;
};

template <typename Args, typename Read>
void OpWorkload::use(const Args& args, double n_elems, Read read) {
  args_ = args;
  bytes_ = 4 * n_elems;
  check_ = [this, read](Device& device) {
    const Args& now = std::get<Args>(args_);
    const reference::Expected expected = reference::evaluate(now);
    device.execute(executions_[0]);
    device.sync();
    return contract::share_of_bound(expected, read(now));
  };
}

TokenSlot* OpWorkload::tokens(int64_t n_tokens, int64_t first) {
  auto* slots = static_cast<TokenSlot*>(allocate(n_tokens * static_cast<int64_t>(sizeof(TokenSlot))));
  for (int64_t i = 0; i < n_tokens; ++i) slots[i] = {0, static_cast<int32_t>(first + i)};
  return slots;
}

KvView OpWorkload::cache(int64_t length, bool is_filled, DType dtype) {
  KvView kv{nullptr, nullptr, dtype, shape_.n_kv_heads, shape_.head_dim, kPageTokens, nullptr, (length + kPageTokens - 1) / kPageTokens};
  auto* table = static_cast<int32_t*>(allocate(kv.max_blocks * 4));
  for (int64_t i = 0; i < kv.max_blocks; ++i) table[i] = static_cast<int32_t>(i);
  kv.block_table = table;
  const int64_t row_bytes = reference::kv_row_bytes(kv), n_rows = kv.max_blocks * kPageTokens * kv.n_kv_heads;
  for (void** base : {&kv.k, &kv.v}) {
    *base = allocate(n_rows * row_bytes);
    std::vector<float> values(static_cast<size_t>(kv.head_dim));
    for (int64_t i = 0; is_filled && i < n_rows; ++i) {
      contract::fill({values.data(), 1, kv.head_dim, kv.head_dim}, Values::kRandom, 1, rng_);
      gguf::quantize_row(kv.dtype, values.data(), static_cast<std::byte*>(*base) + i * row_bytes, kv.head_dim);
    }
  }
  return kv;
}

void OpWorkload::make_attention(int64_t n_tokens) {
  const int64_t length = std::max(options_.depth, n_tokens), width = shape_.n_heads * shape_.head_dim;
  AttentionArgs args{.y = matrix(n_tokens, width, false), .q = matrix(n_tokens, width, true), .kv = cache(length, true, row_.dtype),
                     .tokens = tokens(n_tokens, length - n_tokens), .n_heads = shape_.n_heads,
                     .scale = 1 / std::sqrt(static_cast<float>(shape_.head_dim))};
  args.n_prompt = prompt_tokens(n_tokens);
  args_ = args;
  const double positions = static_cast<double>(n_tokens) * (static_cast<double>(length - n_tokens) + (static_cast<double>(n_tokens) + 1) / 2);
  operations_ = 4 * positions * static_cast<double>(width);
  bytes_ = static_cast<double>(2 * length * shape_.n_kv_heads * reference::kv_row_bytes(args.kv) + 8 * n_tokens * width);
  check_ = [this](Device& device) {
    device.execute(executions_[0]);
    device.sync();
    AttentionArgs last = std::get<AttentionArgs>(args_);
    const int64_t n_first = std::max<int64_t>(0, last.q.n_rows - kCheckedTokens);
    for (MatrixView* view : {&last.q, &last.y}) *view = {view->row(n_first), view->n_rows - n_first, view->n_cols, view->row_stride_elems};
    last.tokens += n_first;
    return contract::share_of_bound(reference::evaluate(last), contract::read_matrix(last.y));
  };
}

void OpWorkload::make_kv_store(int64_t n_tokens) {
  const int64_t width = shape_.n_kv_heads * shape_.head_dim;
  const KvStoreArgs args{.kv = cache(n_tokens, false, row_.dtype), .k = matrix(n_tokens, width, true), .v = matrix(n_tokens, width, true), .tokens = tokens(n_tokens, 0)};
  use(args, 0, [](const KvStoreArgs& now) {
    std::vector<float> all, values(static_cast<size_t>(now.kv.head_dim));
    for (void* base : {now.kv.k, now.kv.v})
      for (int64_t token = 0; token < now.k.n_rows; ++token)
        for (int64_t head = 0; head < now.kv.n_kv_heads; ++head) {
          gguf::dequantize_row(now.kv.dtype, reference::kv_row(now.kv, base, 0, token, head), values.data(), now.kv.head_dim);
          all.insert(all.end(), values.begin(), values.end());
        }
    return all;
  });
  bytes_ = static_cast<double>(2 * n_tokens * (width * 4 + shape_.n_kv_heads * reference::kv_row_bytes(args.kv)));
}

// Of the row's type and d_model columns.
WeightView OpWorkload::weights(int64_t n_rows) {
  const std::vector<std::byte> pool =
      contract::random_weights(row_.dtype, kPoolRows, shape_.d_model, Values::kRandom, rng_);
  const auto size = static_cast<size_t>(n_rows * gguf::row_size_bytes(row_.dtype, shape_.d_model));
  auto* data = static_cast<std::byte*>(allocate(static_cast<int64_t>(size)));
  for (size_t at = 0; at < size; at += pool.size())
    std::memcpy(data + at, pool.data(), std::min(pool.size(), size - at));
  bytes_ += static_cast<double>(size);
  operations_ += 2 * static_cast<double>(n_rows * shape_.d_model);
  return {data, row_.dtype, nullptr, n_rows, shape_.d_model};
}

ActivationView OpWorkload::rows(int64_t n_tokens) {
  const MatrixView x = matrix(n_tokens, shape_.d_model, true);
  return {x.data, row_.activation, x.n_rows, x.n_cols, x.row_stride_elems};
}

void OpWorkload::make_gated_matmul(int64_t n_tokens) {
  const GatedMatmulArgs args{.y = matrix(n_tokens, shape_.d_ff, false),
                             .x = rows(n_tokens),
                             .norm_weight = matrix(1, shape_.d_model, true).data,
                             .norm_eps = 1e-5f,
                             .gate = weights(shape_.d_ff),
                             .up = weights(shape_.d_ff)};
  const double weight_bytes = bytes_;
  use(args, static_cast<double>(n_tokens * (shape_.d_model + shape_.d_ff)),
      [](const GatedMatmulArgs& now) { return contract::read_matrix(now.y); });
  bytes_ += weight_bytes;
  operations_ *= static_cast<double>(n_tokens);
}

MatrixView OpWorkload::angles(int64_t n_tokens) {
  const MatrixView table = matrix(n_tokens, shape_.head_dim, false);
  for (int64_t token = 0; token < n_tokens; ++token)
    for (int64_t i = 0; i < shape_.head_dim; ++i) table.row(token)[i] = i % 2 == 0 ? 0.8f : 0.6f;  // a cosine and its sine
  return table;
}

template <typename Args>
std::vector<float> read_qkv(const Args& args) {
  return contract::read_qkv(args.y, args.kv, args.tokens);
}

void OpWorkload::make_qkv_matmul(int64_t n_tokens) {
  const int64_t n_q = shape_.n_heads * shape_.head_dim, n_k = shape_.n_kv_heads * shape_.head_dim;
  const QkvMatmulArgs args{.y = matrix(n_tokens, n_q, false),
                           .x = rows(n_tokens),
                           .norm_weight = matrix(1, shape_.d_model, true).data,
                           .norm_eps = 1e-5f,
                           .q = weights(n_q),
                           .k = weights(n_k),
                           .v = weights(n_k),
                           .table = angles(n_tokens),
                           .n_heads = shape_.n_heads,
                           .kv = cache(n_tokens, false, DType::kF16),
                           .tokens = tokens(n_tokens, 0)};
  const double weight_bytes = bytes_;
  use(args, static_cast<double>(n_tokens * (shape_.d_model + n_q + n_k)), read_qkv<QkvMatmulArgs>);
  bytes_ += weight_bytes;
  operations_ *= static_cast<double>(n_tokens);
}

// With norms of heads.
void OpWorkload::make_qkv_store(int64_t n_tokens) {
  const int64_t n_q = shape_.n_heads * shape_.head_dim, n_k = shape_.n_kv_heads * shape_.head_dim;
  const QkvStoreArgs args{.y = matrix(n_tokens, n_q, false),
                          .x = matrix(n_tokens, n_q + 2 * n_k, true),
                          .q_norm = matrix(1, shape_.head_dim, true).data,
                          .k_norm = matrix(1, shape_.head_dim, true).data,
                          .norm_eps = 1e-5f,
                          .table = angles(n_tokens),
                          .is_neox = true,
                          .n_heads = shape_.n_heads,
                          .kv = cache(n_tokens, false, row_.dtype),
                          .tokens = tokens(n_tokens, 0)};
  use(args, static_cast<double>(n_tokens * (2 * n_q + 2 * n_k)), read_qkv<QkvStoreArgs>);
  bytes_ += static_cast<double>(2 * n_tokens * shape_.n_kv_heads * reference::kv_row_bytes(args.kv));
}

// As the first half of what a vocabulary's logits go through.
void OpWorkload::make_top_k(int64_t n_tokens) {
  constexpr int64_t kVocabulary = 1 << 17, kSlice = 4096, kCandidates = 40;
  const int64_t n_cols = kVocabulary / kSlice * kCandidates;
  const TopKArgs args{.y = matrix(n_tokens, n_cols, false),
                      .y_ids = static_cast<int32_t*>(allocate(n_tokens * n_cols * 4)),
                      .x = matrix(n_tokens, kVocabulary, true),
                      .k = kCandidates,
                      .slice_cols = kSlice};
  use(args, static_cast<double>(n_tokens * (kVocabulary + 2 * n_cols)), [](const TopKArgs& now) { return contract::read_top_k(now); });
}

void OpWorkload::make(int64_t n) {
  const auto output = [](const auto& now) { return contract::read_matrix(now.y); };
  const auto d = static_cast<double>(n * shape_.d_model), ff = static_cast<double>(n * shape_.d_ff);
  switch (row_.op) {
    case Op::kEmbed: {
      const std::vector<std::byte> native = contract::random_weights(row_.dtype, kTableRows, shape_.d_model, Values::kRandom, rng_);
      void* table = allocate(static_cast<int64_t>(native.size()));
      if (row_.layout != nullptr) {
        table = allocate(row_.layout->size_bytes(row_.dtype, kTableRows, shape_.d_model));
        row_.layout->pack(row_.dtype, kTableRows, shape_.d_model, native.data(), table, {0, kTableRows});
      } else {
        std::memcpy(table, native.data(), native.size());
      }
      auto* ids = static_cast<int32_t*>(allocate(n * 4));
      for (int64_t i = 0; i < n; ++i) ids[i] = static_cast<int32_t>(rng_.below(kTableRows));
      use(EmbedArgs{matrix(n, shape_.d_model, false), {table, row_.dtype, row_.layout, kTableRows, shape_.d_model}, ids, 1}, d, output);
      bytes_ += static_cast<double>(n * gguf::row_size_bytes(row_.dtype, shape_.d_model));
      return;
    }
    case Op::kQuantize: {
      const int64_t size = row_.activation->size_bytes(n, shape_.d_model);
      use(QuantizeArgs{{allocate(size), row_.activation, n, shape_.d_model, 0}, matrix(n, shape_.d_model, true)}, d, [](const QuantizeArgs& now) {
        std::vector<float> decoded(static_cast<size_t>(now.x.n_rows * now.x.n_cols));
        for (int64_t token = 0; token < now.x.n_rows; ++token)
          now.y.format->decode(now.y, token, decoded.data() + token * now.x.n_cols);
        return decoded;
      });
      bytes_ += static_cast<double>(size);
      return;
    }
    case Op::kRmsNorm:
      return use(RmsNormArgs{matrix(n, shape_.d_model, false), matrix(n, shape_.d_model, true), matrix(1, shape_.d_model, true).data, shape_.d_model, 1e-5f}, 2 * d, output);
    case Op::kRopeTable: {
      RopeTableArgs args{matrix(n, shape_.head_dim, false), tokens(n, 0), {}};
      args.config.n_rot = shape_.head_dim;
      return use(args, static_cast<double>(n * shape_.head_dim), [](const RopeTableArgs& now) { return contract::read_matrix(now.table); });
    }
    case Op::kRope:
      return use(RopeArgs{matrix(n, shape_.n_heads * shape_.head_dim, true), angles(n), shape_.n_heads, shape_.head_dim, false},
                 static_cast<double>(2 * n * shape_.n_heads * shape_.head_dim), [](const RopeArgs& now) { return contract::read_matrix(now.x); });
    case Op::kKvStore: return make_kv_store(n);
    case Op::kAttention: return make_attention(n);
    case Op::kGatedActivation:
      return use(GatedActivationArgs{matrix(n, shape_.d_ff, false), matrix(n, shape_.d_ff, true), matrix(n, shape_.d_ff, true), Activation::kSilu}, 3 * ff, output);
    case Op::kAdd: return use(AddArgs{matrix(n, shape_.d_model, false), matrix(n, shape_.d_model, true), matrix(n, shape_.d_model, true)}, 3 * d, output);
    case Op::kScale: return use(ScaleArgs{matrix(n, shape_.d_model, false), matrix(n, shape_.d_model, true), 0.5f}, 2 * d, output);
    case Op::kSoftcap: return use(SoftcapArgs{matrix(n, shape_.d_model, false), matrix(n, shape_.d_model, true), 30}, 2 * d, output);
    case Op::kSoftmax: return use(SoftmaxArgs{matrix(n, shape_.d_model, false), matrix(n, shape_.d_model, true)}, 2 * d, output);
    case Op::kGatedMatmul: return make_gated_matmul(n);
    case Op::kQkvMatmul: return make_qkv_matmul(n);
    case Op::kTopK: return make_top_k(n);
    case Op::kQkvStore: return make_qkv_store(n);
    case Op::kRmsNormAdd:
      return use(RmsNormAddArgs{matrix(n, shape_.d_model, false), matrix(n, shape_.d_model, true), matrix(n, shape_.d_model, true),
                                matrix(1, shape_.d_model, true).data, 1e-5f},
                 3 * d, output);
    case Op::kMatmul: break;  // make_matmul_workload
  }
}

std::string OpWorkload::set_tokens(int64_t n_tokens) {
  buffers_.clear();
  bytes_ = operations_ = 0;
  make(n_tokens);
  void* args = std::visit([](auto& typed) { return static_cast<void*>(&typed); }, args_);
  executions_ = {{{&row_, args}}};
  if (std::string refusal = validate(row_.op, args); !refusal.empty()) return refusal;
  return row_.accepts != nullptr && !row_.accepts(args) ? "the kernel does not accept these arguments" : "";
}

}  // namespace

std::unique_ptr<Workload> make_op_workload(const KernelRow& row, const ModelShape& shape, const WorkloadOptions& options, Device& device) {
  const bool reads_rows = row.op == Op::kEmbed || row.op == Op::kQuantize || row.op == Op::kGatedMatmul || row.op == Op::kQkvMatmul;
  const int64_t block = row.op != Op::kQuantize ? gguf::dtype_info(row.dtype).block_elems : 32;
  if (reads_rows && shape.d_model % block != 0)
    throw std::runtime_error("expected a multiple of " + std::to_string(block) + " columns, got " + std::to_string(shape.d_model));
  return std::make_unique<OpWorkload>(row, shape, options, device);
}

}  // namespace olx::bench
