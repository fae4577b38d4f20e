#include "engine/graph/fuse.h"

#include <algorithm>
#include <cstdlib>
#include <initializer_list>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

namespace olx::engine {

using namespace kernels;  // NOLINT: the Args structs of every op

namespace {

class Fuser {
 public:
  Fuser(const Graph& graph, const WeightStore& weights, const KvCache& cache,
        const DeviceInfo& device, const FuseLimits& limits, std::vector<GraphValue>& values)
      : graph_(graph), weights_(weights), cache_(cache), device_(device), limits_(limits), values_(values) {}

  std::vector<FusedNode> run() const {
    std::vector<FusedNode> nodes;
    for (size_t i = 0; i < graph_.nodes.size();) {
      size_t n = qkv_at(i, nodes);
      if (n == 0) n = gated_at(i, nodes);
      if (n == 0) n = rows_at(i, nodes);
      if (n == 0) n = norm_add_at(i, nodes);
      if (n == 0) nodes.push_back({.node = graph_.nodes[i++]});
      i += n;
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
  static int64_t group_cols(const GraphNode& norm) { return std::get<RmsNormArgs>(norm.args).group_cols; }
  static float eps(const GraphNode& norm) { return std::get<RmsNormArgs>(norm.args).eps; }
  bool is_norm_of_rows(const GraphNode& node) const {
    return group_cols(node) == value(node.a).n_cols && node.weight != kNoWeight;
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

  // The nodes from a norm of rows to the cache's write. Where heads are normalised, q_norm and k_norm.
  struct Qkv {
    std::span<const GraphNode> nodes;
    const GraphNode *norm, *q, *k, *v, *q_norm, *k_norm, *rope_q, *rope_k, *store;
    static Qkv plain(std::span<const GraphNode> n) {
      return {n, n.data(), &n[1], &n[2], &n[3], nullptr, nullptr, &n[4], &n[5], &n[6]};
    }
    static Qkv with_norms(std::span<const GraphNode> n) {
      return {n, n.data(), &n[1], &n[2], &n[3], &n[4], &n[6], &n[5], &n[7], &n[8]};
    }
  };
  std::optional<Qkv> find_qkv(size_t i) const {
    Qkv all;
    if (const auto nodes = group(i, {Op::kRmsNorm, Op::kMatmul, Op::kMatmul, Op::kMatmul, Op::kRope, Op::kRope, Op::kKvStore});
        !nodes.empty()) {
      all = Qkv::plain(nodes);
    } else if (const auto normed = group(i, {Op::kRmsNorm, Op::kMatmul, Op::kMatmul, Op::kMatmul, Op::kRmsNorm, Op::kRope,
                                             Op::kRmsNorm, Op::kRope, Op::kKvStore});
               !normed.empty()) {
      all = Qkv::with_norms(normed);
    } else {
      return std::nullopt;
    }
    if (!is_norm_of_rows(*all.norm)) return std::nullopt;
    for (const GraphNode* product : {all.q, all.k, all.v})
      if (!is_encoding(*product, all.norm->y) || product->b != kNoValue) return std::nullopt;
    if (all.q_norm != nullptr) {
      for (const auto& [head_norm, product] : {std::pair{all.q_norm, all.q}, std::pair{all.k_norm, all.k}})
        if (head_norm->a != product->y || group_cols(*head_norm) != cache_.shape().head_dim ||
            !stays_inside(product->y, all.nodes))
          return std::nullopt;
      if (eps(*all.q_norm) != eps(*all.k_norm)) return std::nullopt;
    }
    const auto &of_q = std::get<RopeArgs>(all.rope_q->args), &of_k = std::get<RopeArgs>(all.rope_k->args);
    const int to_rotate_q = all.q_norm != nullptr ? all.q_norm->y : all.q->y,
              to_rotate_k = all.k_norm != nullptr ? all.k_norm->y : all.k->y;
    if (all.rope_q->a != to_rotate_q || all.rope_k->a != to_rotate_k || all.rope_q->b != all.rope_k->b ||
        of_q.is_neox != of_k.is_neox || all.store->a != to_rotate_k || all.store->b != all.v->y)
      return std::nullopt;
    for (const int inner : {all.norm->y, to_rotate_k, all.v->y})
      if (!stays_inside(inner, all.nodes)) return std::nullopt;
    return all;
  }

  // Each returns how many nodes those it adds take the place of, 0 where it adds none.
  size_t qkv_at(size_t i, std::vector<FusedNode>& fused) const {
    const std::optional<Qkv> all = find_qkv(i);
    if (!all) return 0;
    const bool is_one = all->q_norm == nullptr && cache_.shape().dtype != DType::kQ8_0;
    const RopeArgs& rope = std::get<RopeArgs>(all->rope_q->args);
    const int64_t n_rows = weight(*all->q).n_rows + weight(*all->k).n_rows + weight(*all->v).n_rows;
    QkvMatmulArgs args{.y = shape(all->q->y),
                       .x = rows_of(all->norm->a),
                       .norm_eps = eps(*all->norm),
                       .q = weight(*all->q),
                       .k = weight(*all->k),
                       .v = weight(*all->v),
                       .is_neox = rope.is_neox,
                       .n_heads = rope.n_heads};
    QkvStoreArgs store{
        .norm_eps = all->q_norm != nullptr ? eps(*all->q_norm) : 0.0f, .is_neox = rope.is_neox, .n_heads = rope.n_heads};
    const KernelRow* matmul = find(Op::kQkvMatmul, args.q.dtype, &args);
    const KernelRow* storing = is_one ? nullptr : find(Op::kQkvStore, cache_.shape().dtype, &store);
    if (matmul == nullptr || (!is_one && storing == nullptr)) return 0;
    GraphNode product{.args = args,
                      .y = all->rope_q->a,
                      .a = all->norm->a,
                      .b = all->rope_q->b,
                      .weight = all->norm->weight,
                      .products = {all->q->weight, all->k->weight, all->v->weight},
                      .product_biases = {all->q->bias, all->k->bias, all->v->bias},
                      .layer = all->norm->layer};
    if (is_one) {
      fused.push_back({product, matmul});
      return all->nodes.size();
    }
    values_.push_back({.n_cols = n_rows, .rows = value(all->q->y).rows});
    product.y = static_cast<int>(values_.size()) - 1;
    product.b = kNoValue;
    fused.push_back({product, matmul});
    fused.push_back({{.args = store,
                      .y = all->rope_q->a,
                      .a = product.y,
                      .b = all->rope_q->b,
                      .weight = all->q_norm != nullptr ? all->q_norm->weight : kNoWeight,
                      .bias = all->k_norm != nullptr ? all->k_norm->weight : kNoWeight,
                      .layer = all->norm->layer},
                     storing});
    return all->nodes.size();
  }

  size_t gated_at(size_t i, std::vector<FusedNode>& fused) const {
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
                         .norm_eps = eps(norm),
                         .gate = weight(gate),
                         .up = weight(up),
                         .activation = std::get<GatedActivationArgs>(gated.args).activation};
    const KernelRow* kernel = find(Op::kGatedMatmul, args.gate.dtype, &args);
    if (kernel == nullptr) return 0;
    fused.push_back({{.args = args,
                      .y = gated.y,
                      .a = norm.a,
                      .weight = norm.weight,
                      .products = {gate.weight, up.weight, kNoWeight},
                      .product_biases = {gate.bias, up.bias, kNoWeight},
                      .layer = norm.layer},
                     kernel});
    return nodes.size();
  }

  size_t rows_at(size_t i, std::vector<FusedNode>& fused) const {
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
      const KernelRow* kernel = KernelRegistry::instance().select(
          {.op = Op::kMatmul, .dtype = args.w.dtype, .activation = row.activation, .args = &args},
          device_);
      if (kernel == nullptr) continue;
      fused.push_back({node, kernel});
      return 1;
    }
    return 0;
  }

  size_t norm_add_at(size_t i, std::vector<FusedNode>& fused) const {
    const auto nodes = group(i, {Op::kRmsNorm, Op::kAdd});
    if (nodes.empty() || !is_norm_of_rows(nodes[0]) || !stays_inside(nodes[0].y, nodes)) return 0;
    const GraphNode &norm = nodes[0], &add = nodes[1];
    if ((add.a == norm.y) == (add.b == norm.y)) return 0;
    const RmsNormAddArgs args{.eps = eps(norm)};
    const KernelRow* kernel = find(Op::kRmsNormAdd, DType::kF32, &args);
    if (kernel == nullptr) return 0;
    fused.push_back({{.args = args,
                      .y = add.y,
                      .a = norm.a,
                      .b = add.a == norm.y ? add.b : add.a,
                      .weight = norm.weight,
                      .layer = norm.layer},
                     kernel});
    return nodes.size();
  }

  const Graph& graph_;
  const WeightStore& weights_;
  const KvCache& cache_;
  const DeviceInfo& device_;
  FuseLimits limits_;
  std::vector<GraphValue>& values_;
};

}  // namespace

std::vector<FusedNode> fuse(const Graph& graph, const WeightStore& weights, const KvCache& cache,
                            const DeviceInfo& device, const FuseLimits& limits, std::vector<GraphValue>& values) {
  if (const char* wanted = std::getenv("OLLAMAX_FUSE");
      wanted != nullptr && std::string_view(wanted) == "0") {
    std::vector<FusedNode> nodes;
    for (const GraphNode& node : graph.nodes) nodes.push_back({.node = node});
    return nodes;
  }
  return Fuser(graph, weights, cache, device, limits, values).run();
}

}  // namespace olx::engine
