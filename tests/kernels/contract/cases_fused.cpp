// Cases of the matmuls that have a norm before them and something behind: gated_matmul, qkv_matmul;
// of qkv_store, and of top_k.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "gguf/quantize.h"
#include "kernels/reference/kv.h"
#include "tests/kernels/contract/case.h"

namespace olx::kernels::contract {
namespace {

struct FusedShape {
  int64_t n_tokens, n_cols;
  Values values;
  bool has_norm;
};

// Of rows of weights of a type; more columns than a block encodes at a time are among them.
std::vector<FusedShape> shapes_of(DType dtype, bool is_brief, Rng& rng) {
  const int64_t block = std::max<int64_t>(gguf::dtype_info(dtype).block_elems, 32);
  std::vector<FusedShape> shapes;
  for (int64_t n_tokens = 1; n_tokens <= 9; ++n_tokens)
    shapes.push_back({n_tokens, block * (1 + rng.below(4)), Values::kRandom, n_tokens % 4 != 0});
  if (is_brief) {
    shapes.resize(3);
    return shapes;
  }
  for (Values values : {Values::kZero, Values::kMaxCodes, Values::kHuge, Values::kOutliers})
    shapes.push_back({rng.pick({1, 2, 5}), block * 2, values, true});
  for (const int64_t n_cols : {1024, 2048, 2304, 4352})
    shapes.push_back({rng.pick({1, 3}), n_cols, Values::kRandom, rng.coin()});
  return shapes;
}

std::string shape_text(const FusedShape& shape) {
  return "tokens " + std::to_string(shape.n_tokens) + " cols " + std::to_string(shape.n_cols) +
         " " + values_name(shape.values) + (shape.has_norm ? " normalised" : "");
}

WeightView add_weights(DType dtype, int64_t n_rows, const FusedShape& shape, Memory& memory, Rng& rng) {
  const std::vector<std::byte> native =
      random_weights(dtype, n_rows, shape.n_cols, shape.values, rng);
  std::byte* data = memory.add(native.size());
  std::memcpy(data, native.data(), native.size());
  return {data, dtype, nullptr, n_rows, shape.n_cols};
}
const float* add_vector(int64_t n, Values values, Memory& memory, Rng& rng) {
  const MatrixView vector = memory.add_matrix(1, n, 0, rng.coin());
  fill(vector, values, 1, rng);
  return vector.data;
}
const float* maybe_bias(int64_t n, Memory& memory, Rng& rng) {
  return rng.coin() ? add_vector(n, Values::kOutliers, memory, rng) : nullptr;
}
// With a norm the squares of x have to be finite in f32. norm_scale: what is stored as f16 ends at
// 65504.
template <typename Args>
void add_x(Args& args, const KernelRow& row, const FusedShape& shape, float norm_scale, Memory& memory,
           Rng& rng) {
  const MatrixView x =
      memory.add_matrix(shape.n_tokens, shape.n_cols, rng.pick({0, 0, 3}), rng.below(3) == 0);
  fill(x, shape.values, 1e15f, rng);
  args.x = {x.data, row.activation, x.n_rows, x.n_cols, x.row_stride_elems};
  args.norm_eps = rng.coin() ? 1e-5f : 0.05f;
  if (!shape.has_norm) return;
  const MatrixView weights = memory.add_matrix(1, shape.n_cols, 0, rng.below(3) == 0);
  fill(weights, Values::kOutliers, 1, rng);
  for (int64_t col = 0; col < shape.n_cols; ++col) weights.data[col] *= norm_scale;
  args.norm_weight = weights.data;
}

// Tokens of three sequences at their next positions.
const TokenSlot* add_slots(int64_t n_tokens, int64_t n_positions, Memory& memory, Rng& rng) {
  auto* slots =
      reinterpret_cast<TokenSlot*>(memory.add(static_cast<size_t>(n_tokens) * sizeof(TokenSlot)));
  const int64_t first = rng.below(n_positions - n_tokens + 1);
  for (int64_t i = 0; i < n_tokens; ++i)
    slots[i] = {static_cast<int32_t>(i % 3), static_cast<int32_t>(first + i)};
  return slots;
}

template <typename Args>
void add_pages(Args& args, int64_t n_tokens, Memory& memory, Rng& rng) {
  constexpr int64_t kSequences = 3, kBlocks = 2;
  KvView& kv = args.kv;
  kv.max_blocks = kBlocks;
  auto* table = reinterpret_cast<int32_t*>(memory.add(kSequences * kBlocks * sizeof(int32_t)));
  for (int32_t i = 0; i < kSequences * kBlocks; ++i) table[i] = (i * 5 + 2) % 7;  // of 7 pages
  kv.block_table = table;
  const auto n_bytes =
      static_cast<size_t>(7 * kv.n_kv_heads * kv.page_tokens * reference::kv_row_bytes(kv));
  kv.k = memory.add(n_bytes);
  kv.v = memory.add(n_bytes);
  args.tokens = add_slots(n_tokens, kBlocks * kv.page_tokens, memory, rng);
  for (void* plane : {kv.k, kv.v})
    for (int64_t token = 0; token < n_tokens; ++token)
      for (int64_t head = 0; head < kv.n_kv_heads; ++head)
        memory.allow_writes(reference::kv_row(kv, plane, args.tokens[token].sequence,
                                              args.tokens[token].position, head),
                            static_cast<size_t>(reference::kv_row_bytes(kv)));
}

// Angles of each token.
template <typename Args>
void add_table(Args& args, int64_t n_tokens, int64_t n_rot, Memory& memory, Rng& rng) {
  args.table = memory.add_matrix(n_tokens, n_rot, rng.pick({0, 1}), rng.coin());
  for (int64_t token = 0; token < n_tokens; ++token)
    for (int64_t pair = 0; pair < n_rot / 2; ++pair) {
      const double angle = 3.2 * rng.uniform();
      args.table.row(token)[2 * pair] = static_cast<float>(std::cos(angle));
      args.table.row(token)[2 * pair + 1] = static_cast<float>(std::sin(angle));
    }
}

template <typename Args>
std::vector<float> read_qkv_of(const AnyArgs& any) {
  const auto& args = std::get<Args>(any);
  return read_qkv(args.y, args.kv, args.tokens);
}

}  // namespace

void each_gated_matmul_case(const KernelRow& row, const CaseContext& context,
                            const CaseVisitor& visit) {
  Rng shape_rng(context.seed, "gated matmul shapes");
  int n = 0;
  for (const FusedShape& shape : shapes_of(row.dtype, context.is_brief, shape_rng)) {
    Case c(context);
    const int64_t n_rows = shape_rng.pick({1, 2, 7, 15, 16, 17, 35});
    c.name = shape_text(shape) + " rows " + std::to_string(n_rows);
    Rng rng(context.seed, c.name);
    GatedMatmulArgs args;
    args.activation = static_cast<Activation>(n++ % 4);
    add_x(args, row, shape, 1, c.memory, rng);
    args.gate = add_weights(row.dtype, n_rows, shape, c.memory, rng);
    args.up = add_weights(row.dtype, n_rows, shape, c.memory, rng);
    args.gate_bias = maybe_bias(n_rows, c.memory, rng);
    args.up_bias = maybe_bias(n_rows, c.memory, rng);
    args.y = c.memory.add_matrix(shape.n_tokens, n_rows, rng.pick({0, 5}), rng.coin());
    c.memory.allow_writes(args.y);
    c.expected = reference::evaluate(args);
    c.args = args;
    c.read = [](const AnyArgs& any) { return read_matrix(std::get<GatedMatmulArgs>(any).y); };
    if (!visit(c)) return;
  }
}

void each_qkv_matmul_case(const KernelRow& row, const CaseContext& context,
                          const CaseVisitor& visit) {
  Rng shape_rng(context.seed, "qkv matmul shapes");
  int n = 0;
  for (const FusedShape& shape : shapes_of(row.dtype, context.is_brief, shape_rng))
    // v of the type of q and k, and of the one that files of mixed types have beside theirs.
    for (const DType dtype_of_v : {row.dtype, DType::kQ6_K}) {
      if (shape.n_cols % gguf::dtype_info(dtype_of_v).block_elems != 0) continue;
      Case c(context);
      QkvMatmulArgs args;
      KvView& kv = args.kv;
      kv.dtype = n % 3 == 0 ? DType::kF32 : DType::kF16;
      kv.n_kv_heads = shape_rng.pick({1, 2});
      kv.head_dim = shape_rng.pick({2, 16, 32, 34});
      kv.page_tokens = 16;
      args.n_heads = kv.n_kv_heads * shape_rng.pick({1, 3});
      const bool is_stored = n % 4 != 2;
      args.is_neox = n++ % 2 == 0;
      const int64_t n_rot = kv.head_dim - (kv.head_dim > 16 && n % 3 != 0 ? 8 : 0);
      c.name = shape_text(shape) + " heads " + std::to_string(args.n_heads) + " kv heads " +
               std::to_string(kv.n_kv_heads) + " head_dim " + std::to_string(kv.head_dim) +
               (is_stored ? " n_rot " + std::to_string(n_rot) : " as it is") +
               (args.is_neox ? " neox" : "") + " v of " +
               std::string(gguf::dtype_info(dtype_of_v).name);
      Rng rng(context.seed, c.name);
      add_x(args, row, shape, 0x1p-8f, c.memory, rng);
      const int64_t n_q = args.n_heads * kv.head_dim, n_k = kv.n_kv_heads * kv.head_dim;
      args.q = add_weights(row.dtype, n_q, shape, c.memory, rng);
      args.k = add_weights(row.dtype, n_k, shape, c.memory, rng);
      args.v = add_weights(dtype_of_v, n_k, shape, c.memory, rng);
      args.q_bias = maybe_bias(n_q, c.memory, rng);
      args.k_bias = maybe_bias(n_k, c.memory, rng);
      args.v_bias = maybe_bias(n_k, c.memory, rng);
      if (is_stored) add_table(args, shape.n_tokens, n_rot, c.memory, rng);
      args.y = c.memory.add_matrix(shape.n_tokens, is_stored ? n_q : n_q + 2 * n_k,
                                   rng.pick({0, 5}), rng.coin());
      c.memory.allow_writes(args.y);
      if (is_stored) add_pages(args, shape.n_tokens, c.memory, rng);
      c.expected = reference::evaluate(args);
      c.args = args;
      c.read = read_qkv_of<QkvMatmulArgs>;
      if (!visit(c)) return;
      if (dtype_of_v == DType::kQ6_K && row.dtype == DType::kQ6_K) break;  // the same again
    }
}

void each_qkv_store_case(const KernelRow& row, const CaseContext& context,
                         const CaseVisitor& visit) {
  Rng shape_rng(context.seed, "qkv store shapes");
  int n = 0;
  for (const int64_t head_dim : {2, 16, 32, 34, 64, 96, 128, 160, 256})
    for (const Values values : {Values::kRandom, Values::kZero, Values::kMaxCodes, Values::kOutliers,
                                Values::kHuge}) {
      if (head_dim % gguf::dtype_info(row.dtype).block_elems != 0) continue;
      Case c(context);
      QkvStoreArgs args;
      KvView& kv = args.kv;
      kv.dtype = row.dtype;
      kv.n_kv_heads = shape_rng.pick({1, 2, 3});
      kv.head_dim = head_dim;
      kv.page_tokens = 16;
      args.n_heads = kv.n_kv_heads * shape_rng.pick({1, 3, 4});
      args.is_neox = n++ % 2 == 0;
      const int64_t n_rot = head_dim - (head_dim > 16 ? shape_rng.pick({0, 8}) : 0);
      const int64_t n_tokens = shape_rng.pick({1, 2, 3, 8, 11});
      const bool has_q_norm = shape_rng.below(4) != 0, has_k_norm = shape_rng.below(4) != 0;
      c.name = std::string(values_name(values)) + " tokens " + std::to_string(n_tokens) + " heads " +
               std::to_string(args.n_heads) + " kv heads " + std::to_string(kv.n_kv_heads) +
               " head_dim " + std::to_string(head_dim) + " n_rot " + std::to_string(n_rot) +
               (args.is_neox ? " neox" : "") + (has_q_norm ? " q norm" : "") +
               (has_k_norm ? " k norm" : "");
      Rng rng(context.seed, c.name);
      args.x = c.memory.add_matrix(n_tokens, (args.n_heads + 2 * kv.n_kv_heads) * head_dim,
                                   rng.pick({0, 3}), rng.coin());
      // Both rows of a pair add up in what an f16 holds, which ends at 65504.
      fill(args.x, values, row.dtype == DType::kF32 ? 1e15f : 3e4f, rng);
      args.norm_eps = rng.coin() ? 1e-5f : 0.05f;
      if (has_q_norm) args.q_norm = add_vector(head_dim, Values::kOutliers, c.memory, rng);
      if (has_k_norm) args.k_norm = add_vector(head_dim, Values::kOutliers, c.memory, rng);
      add_table(args, n_tokens, n_rot, c.memory, rng);
      args.y = c.memory.add_matrix(n_tokens, args.n_heads * head_dim, rng.pick({0, 5}), rng.coin());
      c.memory.allow_writes(args.y);
      add_pages(args, n_tokens, c.memory, rng);
      c.expected = reference::evaluate(args);
      c.args = args;
      c.read = read_qkv_of<QkvStoreArgs>;
      if (!visit(c)) return;
      if (context.is_brief && head_dim >= 64) return;
    }
}

std::vector<float> read_qkv(const MatrixView& y, const KvView& kv, const TokenSlot* tokens) {
  std::vector<float> all, row(static_cast<size_t>(kv.head_dim));
  for (int64_t token = 0; token < y.n_rows; ++token) {
    all.insert(all.end(), y.row(token), y.row(token) + y.n_cols);
    if (tokens == nullptr) continue;
    for (void* plane : {kv.k, kv.v})
      for (int64_t head = 0; head < kv.n_kv_heads; ++head) {
        gguf::dequantize_row(
            kv.dtype,
            reference::kv_row(kv, plane, tokens[token].sequence, tokens[token].position, head),
            row.data(), kv.head_dim);
        all.insert(all.end(), row.begin(), row.end());
      }
  }
  return all;
}

void each_top_k_case(const KernelRow&, const CaseContext& context, const CaseVisitor& visit) {
  const float infinity = std::numeric_limits<float>::infinity();
  for (const int64_t n_cols : {1, 5, 300, 1000, 5000})
    for (const char* kind : {"random", "equal", "few", "none", "nan"}) {
      Case c(context);
      Rng rng(context.seed, std::to_string(n_cols) + kind);
      TopKArgs args;
      args.k = rng.pick({1, 1, 2, 40, kTopKMax});
      args.slice_cols = rng.pick({n_cols, (n_cols + 2) / 3, 256});
      const int64_t n_tokens = rng.pick({1, 2, 3});
      c.name = std::string(kind) + " cols " + std::to_string(n_cols) + " k " +
               std::to_string(args.k) + " slices of " + std::to_string(args.slice_cols);
      args.x = c.memory.add_matrix(n_tokens, n_cols, rng.pick({0, 3}), rng.coin());
      fill(args.x, Values::kRandom, 1, rng);
      for (int64_t token = 0; token < n_tokens; ++token)
        for (int64_t col = 0; col < n_cols; ++col) {
          float& x = args.x.row(token)[col];
          // Few different numbers, of both signs of 0 too; few that can be taken.
          if (kind[0] == 'e') x = static_cast<float>(rng.below(4)) * (rng.coin() ? 1.0f : -1.0f);
          if (kind[0] == 'f' && rng.below(50) != 0) x = -infinity;
          if (kind[1] == 'o') x = -infinity;
        }
      if (kind[1] == 'a' && kind[0] == 'n')
        args.x.row(0)[rng.below(n_cols)] = std::numeric_limits<float>::quiet_NaN();
      if (rng.coin()) {  // what is left of a larger row, in any order
        auto* ids = reinterpret_cast<int32_t*>(
            c.memory.add(static_cast<size_t>((n_tokens - 1) * args.x.row_stride_elems + n_cols) *
                         sizeof(int32_t)));
        for (int64_t token = 0; token < n_tokens; ++token)
          for (int64_t col = 0; col < n_cols; ++col)
            ids[token * args.x.row_stride_elems + col] =
                static_cast<int32_t>((col * 7919 + 13) % 10007);
        args.x_ids = ids;
      }
      const int64_t n = args.n_slices() * args.k;
      args.y = c.memory.add_matrix(n_tokens, n, rng.pick({0, 2}), rng.coin());
      args.y_ids = reinterpret_cast<int32_t*>(c.memory.add(
          static_cast<size_t>((n_tokens - 1) * args.y.row_stride_elems + n) * sizeof(int32_t)));
      c.memory.allow_writes(args.y);
      for (int64_t token = 0; token < n_tokens; ++token)
        c.memory.allow_writes(args.y_ids + token * args.y.row_stride_elems,
                              static_cast<size_t>(n) * sizeof(int32_t));
      c.expected = reference::evaluate(args);
      c.args = args;
      c.read = [](const AnyArgs& any) { return read_top_k(std::get<TopKArgs>(any)); };
      // A comparison of numbers knows neither NaN nor equal infinities.
      for (double& value : c.expected.value) value = top_k_number(value);
      if (!visit(c)) return;
      if (context.is_brief && n_cols > 300) return;
    }
}

double top_k_number(double value) {
  return std::isnan(value) ? 0x1p126 : std::isinf(value) ? -0x1p126 : value;
}

std::vector<float> read_top_k(const TopKArgs& args) {
  std::vector<float> all;
  for (int64_t token = 0; token < args.y.n_rows; ++token) {
    const int32_t* ids = args.y_ids + token * args.y.row_stride_elems;
    const auto push = [&](bool is_id) {
      for (int64_t col = 0; col < args.y.n_cols; ++col) {
        const int64_t first = col / args.k * args.k;
        // Behind a NaN anything may be.
        const bool is_free = std::isnan(args.y.row(token)[first]);
        const float value = is_id                    ? static_cast<float>(is_free ? -1 : ids[col])
                            : is_free && col > first ? -std::numeric_limits<float>::infinity()
                                                     : args.y.row(token)[col];
        all.push_back(static_cast<float>(top_k_number(value)));
      }
    };
    push(false);
    push(true);
  }
  return all;
}

}  // namespace olx::kernels::contract
