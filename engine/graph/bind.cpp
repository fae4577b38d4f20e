#include "engine/graph/bind.h"

#include <algorithm>
#include <cstdint>

namespace olx::engine {

using namespace kernels;  // NOLINT: the Args structs of every op

namespace {

// One overload per op: turns indices into pointers, at the planned maximum of rows.
struct Binder {
  const GraphNode& node;
  const BindContext& context;

  const MatrixView& view(int value) const { return context.views[static_cast<size_t>(value)].matrix; }
  ActivationView activation(int value) const {
    const BoundValue& bound = context.views[static_cast<size_t>(value)];
    return {.data = bound.matrix.data,
            .format = context.rows_format != nullptr ? context.rows_format : bound.format,
            .n_tokens = bound.matrix.n_rows,
            .n_cols = bound.matrix.n_cols,
            .row_stride_elems = is_rows(*bound.format) ? bound.matrix.row_stride_elems : 0};
  }
  MatrixView optional_view(int value) const { return value == kNoValue ? MatrixView{} : view(value); }
  const float* vector(int weight) const {
    return weight == kNoWeight ? nullptr : context.weights[weight].values;
  }

  void operator()(EmbedArgs& args) const {
    args.y = view(node.y);
    args.ids = context.ids;
    if (node.weight != kNoWeight) {
      args.table = context.weights[node.weight].view;
      return;
    }
    const MatrixView source = view(node.a);
    args.table = {.data = source.data, .n_rows = source.n_rows, .n_cols = source.n_cols};
  }
  void operator()(QuantizeArgs& args) const {
    args.y = activation(node.y);
    args.x = view(node.a);
  }
  void operator()(MatmulArgs& args) const {
    args.y = view(node.y);
    args.x = activation(node.a);
    args.w = context.weights[node.weight].view;
    args.bias = vector(node.bias);
    args.residual = optional_view(node.b).data;
  }
  void operator()(RmsNormArgs& args) const {
    args.y = view(node.y);
    args.x = view(node.a);
    args.weight = vector(node.weight);
  }
  void operator()(RopeTableArgs& args) const {
    args.table = view(node.y);
    args.tokens = context.slots;
    args.config.freq_factors = vector(node.weight);
  }
  void operator()(RopeArgs& args) const {
    args.x = view(node.a);
    args.table = view(node.b);
  }
  void operator()(KvStoreArgs& args) const {
    args.kv = context.cache.layer(node.layer);
    args.k = view(node.a);
    args.v = view(node.b);
    args.tokens = context.slots;
  }
  void operator()(AttentionArgs& args) const {
    args.y = view(node.y);
    args.q = view(node.a);
    args.kv = context.cache.layer(node.layer);
    args.tokens = context.slots;
  }
  void operator()(GatedActivationArgs& args) const {
    args.y = view(node.y);
    args.gate = view(node.a);
    args.up = view(node.b);
  }
  void operator()(AddArgs& args) const {
    args.y = view(node.y);
    args.a = view(node.a);
    args.b = view(node.b);
  }
  void operator()(ScaleArgs& args) const { bind_unary(args); }
  void operator()(SoftcapArgs& args) const { bind_unary(args); }
  void operator()(SoftmaxArgs& args) const { bind_unary(args); }
  void operator()(GatedMatmulArgs& args) const {
    args.y = view(node.y);
    args.x = activation(node.a);
    args.norm_weight = vector(node.weight);
    args.gate = context.weights[node.products[0]].view;
    args.up = context.weights[node.products[1]].view;
    args.gate_bias = vector(node.product_biases[0]);
    args.up_bias = vector(node.product_biases[1]);
  }
  void operator()(QkvMatmulArgs& args) const {
    args.y = view(node.y);
    args.x = activation(node.a);
    args.norm_weight = vector(node.weight);
    args.q = context.weights[node.products[0]].view;
    args.k = context.weights[node.products[1]].view;
    args.v = context.weights[node.products[2]].view;
    args.q_bias = vector(node.product_biases[0]);
    args.k_bias = vector(node.product_biases[1]);
    args.v_bias = vector(node.product_biases[2]);
    const KvView kv = context.cache.layer(node.layer);
    if (node.b == kNoValue) {
      args.kv = {.n_kv_heads = kv.n_kv_heads, .head_dim = kv.head_dim};
      return;
    }
    args.table = view(node.b);
    args.kv = kv;
    args.tokens = context.slots;
  }
  void operator()(QkvStoreArgs& args) const {
    args.y = view(node.y);
    args.x = view(node.a);
    args.q_norm = vector(node.weight);
    args.k_norm = vector(node.bias);
    args.table = view(node.b);
    args.kv = context.cache.layer(node.layer);
    args.tokens = context.slots;
  }
  void operator()(RmsNormAddArgs& args) const {
    args.y = view(node.y);
    args.x = view(node.a);
    args.residual = view(node.b);
    args.weight = vector(node.weight);
  }
  void operator()(TopKArgs&) const {}  // not of a graph: Candidates binds its own

  template <typename Args>
  void bind_unary(Args& args) const {
    args.y = view(node.y);
    args.x = view(node.a);
  }
};

// As many splits as make kAttentionCounters units of work, and one where the tokens are enough for
// that, the context is short or the scratch small.
int64_t choose_splits(const AttentionArgs& args, int64_t scratch_elems) {
  const int64_t n_tokens = args.q.n_rows;
  if (n_tokens == 0) return 1;  // the last layer of a step that wants no logits: not run
  const int64_t most = kAttentionCounters / (args.kv.n_kv_heads * n_tokens);
  if (most <= 1) return 1;
  int64_t from = INT64_MAX, to = 0;  // what any token sees
  for (int64_t token = 0; token < n_tokens; ++token) {
    const int64_t end = int64_t{args.tokens[token].position} + 1;
    from = std::min(from,
                    args.sliding_window > 0 ? std::max<int64_t>(end - args.sliding_window, 0) : 0);
    to = std::max(to, end);
  }
  const int64_t n_segments =
      (to + kAttentionSegment - 1) / kAttentionSegment - from / kAttentionSegment;
  const bool fits = attention_scratch_elems(n_tokens, n_segments, args.n_heads, args.kv.head_dim) <=
                    scratch_elems;
  return fits ? std::min(n_segments, most) : 1;
}

// What changes from step to step: n rows in every operand.
struct RowSetter {
  int64_t n;
  int64_t n_tokens;  // of the source of a gather
  bool is_gather;
  int64_t n_prompt;
  int64_t attention_scratch_elems;

  void operator()(EmbedArgs& args) const {
    args.y.n_rows = n;
    if (is_gather) args.table.n_rows = n_tokens;
  }
  void operator()(QuantizeArgs& args) const {
    args.y.n_tokens = args.x.n_rows = n;
    args.y.n_prompt = n_prompt;
  }
  void operator()(MatmulArgs& args) const {
    args.y.n_rows = args.x.n_tokens = n;
    args.x.n_prompt = n_prompt;
  }
  void operator()(RmsNormArgs& args) const { args.y.n_rows = args.x.n_rows = n; }
  void operator()(RopeTableArgs& args) const { args.table.n_rows = n; }
  void operator()(RopeArgs& args) const { args.x.n_rows = args.table.n_rows = n; }
  void operator()(KvStoreArgs& args) const { args.k.n_rows = args.v.n_rows = n; }
  void operator()(AttentionArgs& args) const {
    args.y.n_rows = args.q.n_rows = n;
    args.n_prompt = n_prompt;
    args.n_splits = choose_splits(args, attention_scratch_elems);
  }
  void operator()(GatedActivationArgs& args) const {
    args.y.n_rows = args.gate.n_rows = args.up.n_rows = n;
  }
  void operator()(AddArgs& args) const { args.y.n_rows = args.a.n_rows = args.b.n_rows = n; }
  void operator()(ScaleArgs& args) const { args.y.n_rows = args.x.n_rows = n; }
  void operator()(SoftcapArgs& args) const { args.y.n_rows = args.x.n_rows = n; }
  void operator()(SoftmaxArgs& args) const { args.y.n_rows = args.x.n_rows = n; }
  void operator()(GatedMatmulArgs& args) const {
    args.y.n_rows = args.x.n_tokens = n;
    args.x.n_prompt = n_prompt;
  }
  void operator()(QkvMatmulArgs& args) const {
    args.y.n_rows = args.x.n_tokens = args.table.n_rows = n;
    args.x.n_prompt = n_prompt;
  }
  void operator()(QkvStoreArgs& args) const { args.y.n_rows = args.x.n_rows = args.table.n_rows = n; }
  void operator()(RmsNormAddArgs& args) const { args.y.n_rows = args.x.n_rows = args.residual.n_rows = n; }
  void operator()(TopKArgs& args) const { args.y.n_rows = args.x.n_rows = n; }
};

}  // namespace

int64_t wanted_attention_scratch(const AttentionArgs& args, int64_t n_tokens_max) {
  constexpr int64_t kEnough = 4 << 20;  // elements; more tokens, or a longer context, are not split
  const int64_t n_tokens = std::min(n_tokens_max, kAttentionCounters / args.kv.n_kv_heads);
  const int64_t n_segments = args.kv.max_blocks * args.kv.page_tokens / kAttentionSegment + 2;
  return std::min(attention_scratch_elems(n_tokens, n_segments, args.n_heads, args.kv.head_dim),
                  kEnough);
}

bool is_gather(const GraphNode& node) { return node.op() == Op::kEmbed && node.weight == kNoWeight; }

void bind_args(GraphNode& node, const BindContext& context) {
  std::visit(Binder{.node = node, .context = context}, node.args);
}

void set_rows(GraphNode& node, RowCount rows, const RowCounts& counts) {
  const bool is_all = rows == RowCount::kTokens;
  std::visit(RowSetter{.n = is_all ? counts.n_tokens : counts.n_outputs,
                       .n_tokens = counts.n_tokens,
                       .is_gather = is_gather(node),
                       .n_prompt = is_all ? counts.n_prompt : 0,
                       .attention_scratch_elems = counts.attention_scratch_elems},
             node.args);
}

}  // namespace olx::engine
