#include "engine/graph/plan.h"

#include <algorithm>
#include <array>
#include <functional>
#include <map>
#include <utility>

#include "engine/graph/memory_plan.h"
#include "gguf/check.h"

namespace olx::engine {

using namespace kernels;  // NOLINT: the Args structs of every op

EngineError missing_kernel(Op op, DType dtype, const DeviceInfo& device, const std::string& detail) {
  return EngineError(ErrorCode::kUnsupported,
                     "no kernel for " + std::string(op_name(op)) + " of " +
                         std::string(gguf::dtype_info(dtype).name) + detail + " on " + device.backend +
                         " (" + device.name + ")");
}

Plan::Plan(Device& device, const Graph& graph, const WeightStore& weights, const KvCache& cache,
           const Limits& limits)
    : device_(device), limits_(limits), values_(graph.values), logits_value_(graph.logits) {
  OLX_CHECK(limits.n_tokens > 0 && limits.n_outputs > 0);
  ids_.resize(static_cast<size_t>(limits.n_tokens));
  slots_.resize(ids_.size());
  outputs_.resize(static_cast<size_t>(limits.n_outputs));
  output_slots_.resize(outputs_.size());
  lower(graph, weights);
  place_values(limits);
  bind(weights, cache);
  choose_kernels(weights, cache);
}

// The encoded form of a value, made by a kQuantize node before its first reader and shared by the others.
int Plan::quantized(int value, const ActivationFormat* format) {
  const std::pair<int, const ActivationFormat*> key{value, format};
  for (const auto& [known, encoded] : quantized_) {
    if (known == key) return encoded;
  }
  const GraphValue source = values_[static_cast<size_t>(value)];
  values_.push_back({.n_cols = source.n_cols, .rows = source.rows, .format = format});
  const int encoded = static_cast<int>(values_.size()) - 1;
  GraphNode node{.args = QuantizeArgs{}, .y = encoded, .a = value};
  nodes_.push_back({.graph = std::move(node), .rows = source.rows});
  quantized_.push_back({key, encoded});
  return encoded;
}

void Plan::lower(const Graph& graph, const WeightStore& weights) {
  for (const GraphNode& source : graph.nodes) {
    GraphNode node = source;
    if (node.op() == Op::kMatmul) {
      const ActivationFormat* format = weights[node.weight].matmul->activation;
      if (format != &kActivationF32) node.a = quantized(node.a, format);
    }
    const int shown = node.y != kNoValue ? node.y : node.a;
    const RowCount rows = values_[static_cast<size_t>(shown)].rows;
    if (node.op() == Op::kKvStore) n_without_outputs_ = nodes_.size() + 1;
    nodes_.push_back({.graph = std::move(node), .rows = rows});
  }
  for (size_t i = 0; i < n_without_outputs_; ++i) OLX_CHECK(nodes_[i].rows == RowCount::kTokens);
}

// For each value the one whose memory it uses: itself, or an input that dies where it is made and that the op's
// contract allows to be overwritten.
std::vector<int> Plan::share_storage() const {
  std::vector<int> last_use(values_.size(), -1);
  for (size_t i = 0; i < nodes_.size(); ++i) {
    const GraphNode& node = nodes_[i].graph;
    for (int value : {node.a, node.b, node.y}) {
      if (value != kNoValue) last_use[static_cast<size_t>(value)] = static_cast<int>(i);
    }
  }
  std::vector<int> owner(values_.size());
  for (size_t i = 0; i < owner.size(); ++i) owner[i] = static_cast<int>(i);
  for (size_t i = 0; i < nodes_.size(); ++i) {
    const GraphNode& node = nodes_[i].graph;
    std::array<int, 2> candidates{kNoValue, kNoValue};
    switch (node.op()) {
      case Op::kMatmul: candidates = {node.b, kNoValue}; break;  // the residual
      case Op::kRmsNorm:
      case Op::kGatedActivation:
      case Op::kAdd:
      case Op::kScale:
      case Op::kSoftcap: candidates = {node.a, node.b}; break;
      default: break;
    }
    for (int input : candidates) {
      if (input == kNoValue || input == node.y) continue;
      const auto in = static_cast<size_t>(input);
      const auto out = static_cast<size_t>(node.y);
      if (last_use[in] != static_cast<int>(i) || values_[in].rows != values_[out].rows ||
          values_[in].n_cols != values_[out].n_cols) {
        continue;
      }
      owner[out] = owner[in];
      break;
    }
  }
  return owner;
}

void Plan::place_values(const Limits&) {
  const std::vector<int> owner = share_storage();
  std::vector<Lifetime> lives(values_.size());
  std::vector<bool> is_made(values_.size(), false);
  for (size_t i = 0; i < nodes_.size(); ++i) {
    const GraphNode& node = nodes_[i].graph;
    for (int value : {node.a, node.b, node.y}) {
      if (value == kNoValue) continue;
      const auto own = static_cast<size_t>(owner[static_cast<size_t>(value)]);
      if (!is_made[own]) {
        const GraphValue& made = values_[own];
        lives[own].first = static_cast<int>(i);
        const int64_t n_rows = max_rows(made.rows);
        lives[own].size_bytes = made.format == &kActivationF32
                                    ? n_rows * made.n_cols * static_cast<int64_t>(sizeof(float))
                                    : made.format->size_bytes(n_rows, made.n_cols);
        is_made[own] = true;
      }
      lives[own].last = static_cast<int>(i);
    }
  }
  // The caller reads the logits after the last node.
  lives[static_cast<size_t>(owner[static_cast<size_t>(logits_value_)])].last =
      static_cast<int>(nodes_.size());
  const MemoryPlan plan = plan_memory(lives);
  offsets_.resize(values_.size());
  for (size_t i = 0; i < values_.size(); ++i) {
    offsets_[i] = plan.offsets[static_cast<size_t>(owner[i])];
  }
  arena_ = device_.allocate(static_cast<size_t>(plan.size_bytes));
}

MatrixView Plan::view(int value) const {
  const GraphValue& info = values_[static_cast<size_t>(value)];
  auto* data = static_cast<std::byte*>(arena_->data()) + offsets_[static_cast<size_t>(value)];
  return {.data = reinterpret_cast<float*>(data),
          .n_rows = max_rows(info.rows),
          .n_cols = info.n_cols,
          .row_stride_elems = info.n_cols};
}

namespace {

// One overload per op: turns indices into pointers, at the planned maximum of rows.
struct Binder {
  const GraphNode& node;
  const std::function<MatrixView(int)>& view;
  const std::function<ActivationView(int)>& activation;
  const WeightStore& weights;
  const KvCache& cache;
  const int32_t* ids;
  const TokenSlot* slots;

  MatrixView optional_view(int value) const { return value == kNoValue ? MatrixView{} : view(value); }
  const float* vector(int weight) const {
    return weight == kNoWeight ? nullptr : weights[weight].values;
  }

  void operator()(EmbedArgs& args) const {
    args.y = view(node.y);
    args.ids = ids;
    if (node.weight != kNoWeight) {
      args.table = weights[node.weight].view;
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
    args.w = weights[node.weight].view;
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
    args.tokens = slots;
    args.config.freq_factors = vector(node.weight);
  }
  void operator()(RopeArgs& args) const {
    args.x = view(node.a);
    args.table = view(node.b);
  }
  void operator()(KvStoreArgs& args) const {
    args.kv = cache.layer(node.layer);
    args.k = view(node.a);
    args.v = view(node.b);
    args.tokens = slots;
  }
  void operator()(AttentionArgs& args) const {
    args.y = view(node.y);
    args.q = view(node.a);
    args.kv = cache.layer(node.layer);
    args.tokens = slots;
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
  int64_t n_tokens;
  bool is_gather;

  void operator()(EmbedArgs& args) const {
    args.y.n_rows = n;
    if (is_gather) args.table.n_rows = n_tokens;
  }
  void operator()(QuantizeArgs& args) const { args.y.n_tokens = args.x.n_rows = n; }
  void operator()(MatmulArgs& args) const { args.y.n_rows = args.x.n_tokens = n; }
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

void Plan::bind(const WeightStore& weights, const KvCache& cache) {
  const std::function<MatrixView(int)> matrix = [this](int value) { return view(value); };
  const std::function<ActivationView(int)> activation = [this](int value) {
    const MatrixView whole = view(value);
    const ActivationFormat* format = values_[static_cast<size_t>(value)].format;
    return ActivationView{.data = whole.data,
                          .format = format,
                          .n_tokens = whole.n_rows,
                          .n_cols = whole.n_cols,
                          .row_stride_elems = format == &kActivationF32 ? whole.row_stride_elems : 0};
  };
  for (Node& node : nodes_) {
    const bool is_gather = node.graph.op() == Op::kEmbed && node.graph.weight == kNoWeight;
    const bool is_output = node.rows == RowCount::kOutputs;
    std::visit(Binder{.node = node.graph,
                      .view = matrix,
                      .activation = activation,
                      .weights = weights,
                      .cache = cache,
                      .ids = is_gather ? outputs_.data() : ids_.data(),
                      .slots = is_output ? output_slots_.data() : slots_.data()},
               node.graph.args);
  }
}

void Plan::choose_kernels(const WeightStore& weights, const KvCache& cache) {
  const KernelRegistry& registry = KernelRegistry::instance();
  for (Node& node : nodes_) {
    const Op op = node.graph.op();
    void* args = std::visit([](auto& alternative) -> void* { return &alternative; }, node.graph.args);
    KernelRegistry::Query query{.op = op, .args = args};
    std::string detail;
    if (op == Op::kMatmul) {
      node.kernel = weights[node.graph.weight].matmul;
    } else {
      if (op == Op::kEmbed && node.graph.weight != kNoWeight) {
        query.dtype = weights[node.graph.weight].view.dtype;
        query.layout = weights[node.graph.weight].view.layout;
        if (query.layout != nullptr) detail = std::string(" (packed as ") + query.layout->name + ")";
      } else if (op == Op::kKvStore || op == Op::kAttention) {
        query.dtype = cache.shape().dtype;
      } else if (op == Op::kQuantize) {
        query.activation = values_[static_cast<size_t>(node.graph.y)].format;
        detail = std::string(" activations to ") + query.activation->name;
      }
      node.kernel = registry.select(query, device_.info());
    }
    if (node.kernel == nullptr) throw missing_kernel(op, query.dtype, device_.info(), detail);
    const std::string problem = validate(op, args);
    if (!problem.empty()) {
      throw EngineError(ErrorCode::kUnsupported,
                        "layer " + std::to_string(node.graph.layer) + ": " + problem);
    }
    bound_.push_back({.kernel = node.kernel, .args = args});
  }
}

void Plan::set_rows(int64_t n_tokens, int64_t n_outputs) {
  for (Node& node : nodes_) {
    const int64_t n = node.rows == RowCount::kTokens ? n_tokens : n_outputs;
    std::visit(RowSetter{.n = n, .n_tokens = n_tokens, .is_gather = node.graph.weight == kNoWeight},
               node.graph.args);
  }
}

bool Plan::execute(const Step& step, const volatile bool* cancel) {
  const size_t n_tokens = step.ids.size();
  const size_t n_outputs = step.outputs.size();
  OLX_CHECK(n_tokens > 0 && n_tokens <= ids_.size() && step.slots.size() == n_tokens);
  OLX_CHECK(n_outputs <= outputs_.size());
  std::copy(step.ids.begin(), step.ids.end(), ids_.begin());
  std::copy(step.slots.begin(), step.slots.end(), slots_.begin());
  for (size_t i = 0; i < n_outputs; ++i) {
    outputs_[i] = step.outputs[i];
    output_slots_[i] = step.slots[static_cast<size_t>(step.outputs[i])];
  }
  set_rows(static_cast<int64_t>(n_tokens), static_cast<int64_t>(n_outputs));
  const size_t n_nodes = n_outputs == 0 ? n_without_outputs_ : bound_.size();
  if (!device_.execute(std::span(bound_).first(n_nodes), cancel)) return false;
  device_.sync();
  return true;
}

float* Plan::logits(int64_t i) const {
  const MatrixView logits = view(logits_value_);
  OLX_CHECK(i >= 0 && i < logits.n_rows);
  return logits.row(i);
}

std::string Plan::describe() const {
  std::map<std::string, int> counts;
  for (const Node& node : nodes_) {
    ++counts[std::string(op_name(node.graph.op())) + " " + node.kernel->name];
  }
  std::string text;
  for (const auto& [name, n] : counts) text += name + " x" + std::to_string(n) + "\n";
  return text;
}

}  // namespace olx::engine
