#include "engine/graph/fuse.h"

#include <algorithm>
#include <cstdlib>
#include <initializer_list>
#include <span>
#include <string_view>

namespace olx::engine {

using namespace kernels;  // NOLINT: the Args structs of every op

namespace {

class Fuser {
 public:
  Fuser(const Graph& graph, const WeightStore& weights, const KvCache& cache,
        const DeviceInfo& device, const FuseLimits& limits)
      : graph_(graph), weights_(weights), cache_(cache), device_(device), limits_(limits) {}

  std::vector<FusedNode> run() const {
    std::vector<FusedNode> nodes;
    for (size_t i = 0; i < graph_.nodes.size();) {
      FusedNode fused{.node = graph_.nodes[i]};
      size_t n = qkv_at(i, fused);
      if (n == 0) n = gated_at(i, fused);
      if (n == 0) n = rows_at(i, fused);
      nodes.push_back(fused);
      i += std::max<size_t>(n, 1);
    }
    return nodes;
  }

 private:
  std::span<const GraphNode> group(size_t i, std::initializer_list<Op> ops) const {
    if (ops.size() > graph_.nodes.size() - i) return {};
    const std::span<const GraphNode> nodes = std::span(graph_.nodes).subspan(i, ops.size());
    const bool is_alike = std::equal(nodes.begin(), nodes.end(), ops.begin(),
                                     [](const GraphNode& node, Op op) { return node.op() == op; });
    return is_alike ? nodes : std::span<const GraphNode>();
  }
  // No node but those of the group, and nobody after the graph, reads the value.
  bool stays_inside(int value, std::span<const GraphNode> nodes) const {
    const auto reads = [&](const GraphNode& node) { return node.a == value || node.b == value; };
    const auto n_readers = [&](std::span<const GraphNode> of) {
      return std::count_if(of.begin(), of.end(), reads);
    };
    return graph_.output != value &&
           std::find(graph_.kept.begin(), graph_.kept.end(), value) == graph_.kept.end() &&
           n_readers(graph_.nodes) == n_readers(nodes);
  }
  bool is_norm_of_rows(const GraphNode& node) const {
    return std::get<RmsNormArgs>(node.args).group_cols == value(node.a).n_cols &&
           node.weight != kNoWeight;
  }
  // A product of x that a node of its own would encode x for.
  bool is_encoding(const GraphNode& node, int x) const {
    const KernelRow* row = weights_[node.weight].matmul;
    return node.a == x && !node.is_last_matmul && row != nullptr && !is_rows(*row->activation) &&
           row->layout == nullptr;
  }
  const GraphValue& value(int index) const { return graph_.values[static_cast<size_t>(index)]; }
  const WeightView& weight(const GraphNode& node) const { return weights_[node.weight].view; }
  // What accepts() may look at: shapes, types and the addresses of weights.
  MatrixView shape(int index) const {
    const GraphValue& info = value(index);
    const int64_t n_rows = info.rows == RowCount::kTokens ? limits_.n_tokens : limits_.n_outputs;
    return {
        .data = nullptr, .n_rows = n_rows, .n_cols = info.n_cols, .row_stride_elems = info.n_cols};
  }
  ActivationView rows_of(int index) const {
    const MatrixView rows = shape(index);
    return {.n_tokens = rows.n_rows, .n_cols = rows.n_cols, .row_stride_elems = rows.n_cols};
  }
  const KernelRow* find(Op op, DType dtype, const void* args) const {
    const KernelRow* row =
        KernelRegistry::instance().select({.op = op, .dtype = dtype, .args = args}, device_);
    return row != nullptr && is_rows(*row->activation) ? row : nullptr;
  }

  // Each returns how many nodes `fused` takes the place of.
  size_t qkv_at(size_t i, FusedNode& fused) const {
    const auto nodes = group(i, {Op::kRmsNorm, Op::kMatmul, Op::kMatmul, Op::kMatmul, Op::kRope,
                                 Op::kRope, Op::kKvStore});
    if (nodes.empty() || !is_norm_of_rows(nodes[0])) return 0;
    const GraphNode &norm = nodes[0], &q = nodes[1], &k = nodes[2], &v = nodes[3],
                    &rope_q = nodes[4], &rope_k = nodes[5], &store = nodes[6];
    for (const GraphNode* product : {&q, &k, &v})
      if (!is_encoding(*product, norm.y) || product->b != kNoValue) return 0;
    const auto &of_q = std::get<RopeArgs>(rope_q.args), &of_k = std::get<RopeArgs>(rope_k.args);
    if (rope_q.a != q.y || rope_k.a != k.y || rope_q.b != rope_k.b || of_q.is_neox != of_k.is_neox)
      return 0;
    if (store.a != k.y || store.b != v.y || cache_.shape().dtype == DType::kQ8_0) return 0;
    for (const int inner : {norm.y, k.y, v.y})
      if (!stays_inside(inner, nodes)) return 0;
    QkvMatmulArgs args{.y = shape(q.y),
                       .x = rows_of(norm.a),
                       .norm_eps = std::get<RmsNormArgs>(norm.args).eps,
                       .q = weight(q),
                       .k = weight(k),
                       .v = weight(v),
                       .is_neox = of_q.is_neox,
                       .n_heads = of_q.n_heads};
    fused.kernel = find(Op::kQkvMatmul, args.q.dtype, &args);
    if (fused.kernel == nullptr) return 0;
    fused.node = {.args = args,
                  .y = q.y,
                  .a = norm.a,
                  .b = rope_q.b,
                  .weight = norm.weight,
                  .products = {q.weight, k.weight, v.weight},
                  .product_biases = {q.bias, k.bias, v.bias},
                  .layer = norm.layer};
    return nodes.size();
  }

  size_t gated_at(size_t i, FusedNode& fused) const {
    const auto nodes = group(i, {Op::kRmsNorm, Op::kMatmul, Op::kMatmul, Op::kGatedActivation});
    if (nodes.empty() || !is_norm_of_rows(nodes[0])) return 0;
    const GraphNode &norm = nodes[0], &gate = nodes[1], &up = nodes[2], &gated = nodes[3];
    for (const GraphNode* product : {&gate, &up})
      if (!is_encoding(*product, norm.y) || product->b != kNoValue) return 0;
    if (gated.a != gate.y || gated.b != up.y || weight(gate).dtype != weight(up).dtype) return 0;
    for (const int inner : {norm.y, gate.y, up.y})
      if (!stays_inside(inner, nodes)) return 0;
    GatedMatmulArgs args{.y = shape(gated.y),
                         .x = rows_of(norm.a),
                         .norm_eps = std::get<RmsNormArgs>(norm.args).eps,
                         .gate = weight(gate),
                         .up = weight(up),
                         .activation = std::get<GatedActivationArgs>(gated.args).activation};
    fused.kernel = find(Op::kGatedMatmul, args.gate.dtype, &args);
    if (fused.kernel == nullptr) return 0;
    fused.node = {.args = args,
                  .y = gated.y,
                  .a = norm.a,
                  .weight = norm.weight,
                  .products = {gate.weight, up.weight, kNoWeight},
                  .product_biases = {gate.bias, up.bias, kNoWeight},
                  .layer = norm.layer};
    return nodes.size();
  }

  size_t rows_at(size_t i, FusedNode& fused) const {
    const GraphNode& node = graph_.nodes[i];
    if (node.op() != Op::kMatmul || !is_encoding(node, node.a)) return 0;
    const auto n_readers = std::count_if(
        graph_.nodes.begin(), graph_.nodes.end(),
        [&](const GraphNode& other) { return other.op() == Op::kMatmul && other.a == node.a; });
    if (n_readers != 1) return 0;  // encoding it once serves all
    const MatmulArgs args{.y = shape(node.y), .x = rows_of(node.a), .w = weight(node)};
    const double step = weights_[node.weight].matmul->activation->step;
    for (const KernelRow& row : KernelRegistry::instance().rows()) {
      if (row.op != Op::kMatmul || row.activation == &kActivationF32 || !is_rows(*row.activation))
        continue;
      if (row.activation->step > step) continue;
      fused.kernel = KernelRegistry::instance().select(
          {.op = Op::kMatmul, .dtype = args.w.dtype, .activation = row.activation, .args = &args},
          device_);
      if (fused.kernel != nullptr) return 1;
    }
    return 0;
  }

  const Graph& graph_;
  const WeightStore& weights_;
  const KvCache& cache_;
  const DeviceInfo& device_;
  FuseLimits limits_;
};

}  // namespace

std::vector<FusedNode> fuse(const Graph& graph, const WeightStore& weights, const KvCache& cache,
                            const DeviceInfo& device, const FuseLimits& limits) {
  if (const char* wanted = std::getenv("OLLAMAX_FUSE");
      wanted != nullptr && std::string_view(wanted) == "0") {
    std::vector<FusedNode> nodes;
    for (const GraphNode& node : graph.nodes) nodes.push_back({.node = node});
    return nodes;
  }
  return Fuser(graph, weights, cache, device, limits).run();
}

}  // namespace olx::engine
