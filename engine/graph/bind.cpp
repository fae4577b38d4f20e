#include "engine/graph/bind.h"

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
            .format = bound.format,
            .n_tokens = bound.matrix.n_rows,
            .n_cols = bound.matrix.n_cols,
            .row_stride_elems = bound.format == &kActivationF32 ? bound.matrix.row_stride_elems : 0};
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

  template <typename Args>
  void bind_unary(Args& args) const {
    args.y = view(node.y);
    args.x = view(node.a);
  }
};

// What changes from step to step: n rows in every operand.
struct RowSetter {
  int64_t n;
  int64_t n_tokens;  // of the source of a gather
  bool is_gather;
  int64_t n_prompt;

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
  void operator()(AttentionArgs& args) const { args.y.n_rows = args.q.n_rows = n; }
  void operator()(GatedActivationArgs& args) const {
    args.y.n_rows = args.gate.n_rows = args.up.n_rows = n;
  }
  void operator()(AddArgs& args) const { args.y.n_rows = args.a.n_rows = args.b.n_rows = n; }
  void operator()(ScaleArgs& args) const { args.y.n_rows = args.x.n_rows = n; }
  void operator()(SoftcapArgs& args) const { args.y.n_rows = args.x.n_rows = n; }
  void operator()(SoftmaxArgs& args) const { args.y.n_rows = args.x.n_rows = n; }
};

}  // namespace

bool is_gather(const GraphNode& node) { return node.op() == Op::kEmbed && node.weight == kNoWeight; }

void bind_args(GraphNode& node, const BindContext& context) {
  std::visit(Binder{.node = node, .context = context}, node.args);
}

void set_rows(GraphNode& node, RowCount rows, const RowCounts& counts) {
  const bool is_all = rows == RowCount::kTokens;
  std::visit(RowSetter{.n = is_all ? counts.n_tokens : counts.n_outputs,
                       .n_tokens = counts.n_tokens,
                       .is_gather = is_gather(node),
                       .n_prompt = is_all ? counts.n_prompt : 0},
             node.args);
}

}  // namespace olx::engine
