#include "engine/graph/graph_builder.h"

#include <utility>

#include "gguf/check.h"

namespace olx::engine {

using namespace kernels;  // NOLINT: the Args structs of every op

GraphBuilder::GraphBuilder(const ModelConfig& config, const WeightTable& weights)
    : config_(config), weights_(weights) {}

int GraphBuilder::weight_index(std::string_view name) const {
  return name.empty() ? kNoWeight : weights_.find(name, layer_);
}

int GraphBuilder::required_weight(std::string_view name) const {
  const int index = weight_index(name);
  OLX_CHECK(index != kNoWeight);  // the table marks it as required, or the architecture asked has() first
  return index;
}

bool GraphBuilder::has(std::string_view weight) const { return weight_index(weight) != kNoWeight; }

Tensor GraphBuilder::add_value(int64_t n_cols, RowCount rows) {
  graph_.values.push_back({.n_cols = n_cols, .rows = rows});
  return {static_cast<int>(graph_.values.size()) - 1};
}

const GraphValue& GraphBuilder::value(Tensor x) const {
  OLX_CHECK(x.value >= 0 && x.value < static_cast<int>(graph_.values.size()));
  return graph_.values[static_cast<size_t>(x.value)];
}

GraphNode& GraphBuilder::add_node(GraphNode node) {
  node.layer = layer_;
  graph_.nodes.push_back(node);
  return graph_.nodes.back();
}

Tensor GraphBuilder::embed(std::string_view table, float scale) {
  const int weight = required_weight(table);
  const Tensor y = add_value(weights_[weight].n_cols, RowCount::kTokens);
  add_node({.args = EmbedArgs{.scale = scale}, .y = y.value, .weight = weight});
  return y;
}

Tensor GraphBuilder::matmul(Tensor x, std::string_view weight, const MatmulExtras& extras) {
  const int index = required_weight(weight);
  OLX_CHECK(value(x).n_cols == weights_[index].n_cols);
  const Tensor y = add_value(weights_[index].n_rows, value(x).rows);
  if (extras.residual.value != kNoValue) {
    OLX_CHECK(value(extras.residual).n_cols == value(y).n_cols);
    OLX_CHECK(value(extras.residual).rows == value(y).rows);
  }
  add_node({.args = MatmulArgs{},
            .y = y.value,
            .a = x.value,
            .b = extras.residual.value,
            .weight = index,
            .bias = weight_index(extras.bias)});
  return y;
}

Tensor GraphBuilder::logits_matmul(Tensor x, std::string_view weight) {
  // The norm before it and all that follows belong to no layer.
  layer_ = config_.n_layers;
  GraphNode& norm = graph_.nodes.back();
  if (norm.op() == Op::kRmsNorm && norm.y == x.value) norm.layer = layer_;
  const Tensor y = matmul(x, weight);
  graph_.nodes.back().is_last_matmul = true;
  return y;
}

Tensor GraphBuilder::rms_norm(Tensor x, std::string_view weight) {
  const int64_t n_cols = value(x).n_cols;
  const Tensor y = add_value(n_cols, value(x).rows);
  add_node({.args = RmsNormArgs{.group_cols = n_cols, .eps = config_.norm_eps},
            .y = y.value,
            .a = x.value,
            .weight = required_weight(weight)});
  return y;
}

Tensor GraphBuilder::head_norm(Tensor x, std::string_view weight) {
  const Tensor y = add_value(value(x).n_cols, value(x).rows);
  add_node({.args = RmsNormArgs{.group_cols = config_.head_dim, .eps = config_.norm_eps},
            .y = y.value,
            .a = x.value,
            .weight = required_weight(weight)});
  return y;
}

Tensor GraphBuilder::rope_table(const RopeConfig& config, std::string_view freq_factors) {
  const Tensor y = add_value(config.n_rot, RowCount::kTokens);
  add_node({.args = RopeTableArgs{.config = config}, .y = y.value, .weight = weight_index(freq_factors)});
  return y;
}

Tensor GraphBuilder::rope(Tensor x, Tensor table, const RopeConfig& config) {
  OLX_CHECK(value(x).n_cols % config_.head_dim == 0);
  add_node({.args = RopeArgs{.n_heads = value(x).n_cols / config_.head_dim,
                             .head_dim = config_.head_dim,
                             .is_neox = config.is_neox},
            .y = x.value,
            .a = x.value,
            .b = table.value});
  return x;
}

void GraphBuilder::kv_store(Tensor k, Tensor v) {
  add_node({.args = KvStoreArgs{}, .a = k.value, .b = v.value});
}

Tensor GraphBuilder::attention(Tensor q, int64_t sliding_window) {
  const Tensor y = add_value(value(q).n_cols, value(q).rows);
  add_node({.args = AttentionArgs{.n_heads = config_.n_heads,
                                  .scale = config_.attention_scale,
                                  .softcap = config_.attention_softcap,
                                  .sliding_window = sliding_window},
            .y = y.value,
            .a = q.value});
  return y;
}

Tensor GraphBuilder::gated(Tensor gate, Tensor up) {
  OLX_CHECK(value(gate).n_cols == value(up).n_cols);
  const Tensor y = add_value(value(gate).n_cols, value(gate).rows);
  add_node({.args = GatedActivationArgs{.activation = config_.activation},
            .y = y.value,
            .a = gate.value,
            .b = up.value});
  return y;
}

Tensor GraphBuilder::add(Tensor a, Tensor b) {
  OLX_CHECK(value(a).n_cols == value(b).n_cols && value(a).rows == value(b).rows);
  const Tensor y = add_value(value(a).n_cols, value(a).rows);
  add_node({.args = AddArgs{}, .y = y.value, .a = a.value, .b = b.value});
  return y;
}

Tensor GraphBuilder::scale(Tensor x, float factor) {
  const Tensor y = add_value(value(x).n_cols, value(x).rows);
  add_node({.args = ScaleArgs{.scale = factor}, .y = y.value, .a = x.value});
  return y;
}

Tensor GraphBuilder::softcap(Tensor x, float cap) {
  const Tensor y = add_value(value(x).n_cols, value(x).rows);
  add_node({.args = SoftcapArgs{.cap = cap}, .y = y.value, .a = x.value});
  return y;
}

Tensor GraphBuilder::gather_outputs(Tensor x) {
  const Tensor y = add_value(value(x).n_cols, RowCount::kOutputs);
  // Picking rows of an f32 matrix is an embedding lookup.
  add_node({.args = EmbedArgs{}, .y = y.value, .a = x.value});
  return y;
}

void GraphBuilder::drop_unneeded_rows(Tensor& a, Tensor& b) {
  if (layer_ + 1 != config_.n_layers) return;
  a = gather_outputs(a);
  b = gather_outputs(b);
}

void GraphBuilder::set_logits(Tensor x) {
  OLX_CHECK(value(x).rows == RowCount::kOutputs && value(x).n_cols == config_.vocab_size);
  graph_.output = x.value;
}

Graph GraphBuilder::take() {
  OLX_CHECK(graph_.output != kNoValue);
  return std::move(graph_);
}

}  // namespace olx::engine
