#include "engine/graph/plan.h"

#include <algorithm>
#include <array>
#include <map>
#include <utility>

#include "engine/graph/bind.h"
#include "engine/graph/fuse.h"
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
           const Limits& limits, Plan* lender)
    : device_(device),
      limits_(limits),
      values_(graph.values),
      output_value_(graph.output),
      inputs_(graph.inputs),
      kept_(graph.kept) {
  OLX_CHECK(limits.n_tokens > 0 && limits.n_outputs > 0);
  ids_.resize(static_cast<size_t>(limits.n_tokens));
  slots_.resize(ids_.size());
  outputs_.resize(static_cast<size_t>(limits.n_outputs));
  output_slots_.resize(outputs_.size());
  lower(graph, weights, cache);
  const std::vector<int> owner = share_storage();
  order_nodes(owner);
  place_values(owner, lender);
  bind(weights, cache, lender);
  choose_kernels(weights, cache);
  if (!limits.has_candidates || output_value_ == kNoValue) return;
  const int64_t n_cols = values_[static_cast<size_t>(output_value_)].n_cols;
  if (!Candidates::are_offered(device_.info(), n_cols)) return;
  candidates_ = std::make_unique<Candidates>(
      device_, limits.n_outputs, n_cols, lender != nullptr ? lender->candidates_.get() : nullptr);
  for (const BoundNode& node : candidates_->nodes()) bound_.push_back(node);
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
  const GraphNode node{.args = QuantizeArgs{}, .y = encoded, .a = value};
  nodes_.push_back({.graph = node, .rows = source.rows});
  quantized_.push_back({key, encoded});
  return encoded;
}

void Plan::lower(const Graph& graph, const WeightStore& weights, const KvCache& cache) {
  const FuseLimits limits{.n_tokens = limits_.n_tokens, .n_outputs = limits_.n_outputs};
  for (const FusedNode& source : fuse(graph, weights, cache, device_.info(), limits, values_)) {
    GraphNode node = source.node;
    if (source.kernel != nullptr) {
      ++n_fused_;
    } else if (node.op() == Op::kMatmul) {
      const ActivationFormat* format = weights[node.weight].matmul->activation;
      if (!is_rows(*format)) node.a = quantized(node.a, format);
    }
    const int shown = node.y != kNoValue ? node.y : node.a;
    const RowCount rows = values_[static_cast<size_t>(shown)].rows;
    if (node.op() == Op::kKvStore || node.op() == Op::kQkvMatmul || node.op() == Op::kQkvStore)
      n_without_outputs_ = nodes_.size() + 1;
    nodes_.push_back({.graph = node, .kernel = source.kernel, .rows = rows});
  }
  if (graph.has_later_cache) n_without_outputs_ = nodes_.size();
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
  for (const int value : kept_) last_use[static_cast<size_t>(value)] = static_cast<int>(nodes_.size());
  std::vector<int> owner(values_.size());
  for (size_t i = 0; i < owner.size(); ++i) owner[i] = static_cast<int>(i);
  for (size_t i = 0; i < nodes_.size(); ++i) {
    const GraphNode& node = nodes_[i].graph;
    std::array<int, 2> candidates{kNoValue, kNoValue};
    switch (node.op()) {
      case Op::kMatmul: candidates = {node.b, kNoValue}; break;  // the residual
      case Op::kRmsNorm:
      case Op::kRmsNormAdd:
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

// Whether one of them writes memory that the other touches. The cache needs no look: every kAttention waits for all.
bool Plan::conflict(const GraphNode& a, const GraphNode& b, const std::vector<int>& owner) const {
  const auto touches = [&](const GraphNode& node, int written) {
    for (int value : {node.a, node.b, node.y}) {
      if (value != kNoValue && owner[static_cast<size_t>(value)] == written) return true;
    }
    return false;
  };
  const auto written = [&](const GraphNode& node) {
    return node.y == kNoValue ? kNoValue : owner[static_cast<size_t>(node.y)];
  };
  return (a.y != kNoValue && touches(b, written(a))) || (b.y != kNoValue && touches(a, written(b)));
}

namespace {

// Whether a unit of work is a row of the value it makes, and reads only the same row of its inputs.
bool works_row_by_row(const GraphNode& node) {
  switch (node.op()) {
    case Op::kMatmul:
    case Op::kGatedMatmul:
    case Op::kQkvMatmul:
    case Op::kAttention: return false;
    case Op::kEmbed: return !is_gather(node);
    default: return true;
  }
}

}  // namespace

// Nodes that need not wait: q, k and v; gate and up; a norm and the encoding of its result. A layer then has about ten
// barriers instead of eighteen, which is what decoding a small model spends its time on.
void Plan::order_nodes(const std::vector<int>& owner) {
  size_t group_begin = 0;
  for (size_t i = 1; i < nodes_.size(); ++i) {
    const GraphNode& node = nodes_[i].graph;
    bool is_independent = true;
    bool is_same_units = works_row_by_row(node);
    for (size_t j = group_begin; j < i; ++j) {
      is_independent = is_independent && !conflict(nodes_[j].graph, node, owner);
      is_same_units =
          is_same_units && works_row_by_row(nodes_[j].graph) && nodes_[j].rows == nodes_[i].rows;
    }
    if (node.op() == Op::kAttention || !(is_independent || is_same_units)) {
      group_begin = i;
    } else {
      nodes_[i].order = is_independent ? NodeOrder::kIndependent : NodeOrder::kUnitByUnit;
    }
  }
}

void Plan::place_values(const std::vector<int>& owner, Plan* lender) {
  std::vector<Lifetime> lives(values_.size());
  std::vector<bool> is_made(values_.size(), false);
  // Nodes of a group may run at the same time, so a value lives from the start to the end of the groups it is used in.
  std::vector<int> group_first(nodes_.size());
  std::vector<int> group_last(nodes_.size());
  for (size_t i = 0; i < nodes_.size(); ++i) {
    const bool is_begin = i == 0 || nodes_[i].order == NodeOrder::kAfterAll;
    group_first[i] = is_begin ? static_cast<int>(i) : group_first[i - 1];
  }
  for (size_t i = nodes_.size(); i-- > 0;) {
    const bool is_end = i + 1 == nodes_.size() || nodes_[i + 1].order == NodeOrder::kAfterAll;
    group_last[i] = is_end ? static_cast<int>(i) : group_last[i + 1];
  }
  for (const int value : inputs_) {  // from before the first node
    const auto own = static_cast<size_t>(owner[static_cast<size_t>(value)]);
    lives[own].size_bytes = value_bytes(values_[own]);
    is_made[own] = true;
  }
  for (size_t i = 0; i < nodes_.size(); ++i) {
    const GraphNode& node = nodes_[i].graph;
    for (int value : {node.a, node.b, node.y}) {
      if (value == kNoValue) continue;
      const auto own = static_cast<size_t>(owner[static_cast<size_t>(value)]);
      if (!is_made[own]) {
        lives[own].first = group_first[i];
        lives[own].size_bytes = value_bytes(values_[own]);
        is_made[own] = true;
      }
      lives[own].last = group_last[i];
    }
  }
  // Others read these after the last node.
  std::vector<int> read_later = kept_;
  if (output_value_ != kNoValue) read_later.push_back(output_value_);
  for (const int value : read_later)
    lives[static_cast<size_t>(owner[static_cast<size_t>(value)])].last =
        static_cast<int>(nodes_.size());
  const MemoryPlan plan = plan_memory(lives);
  offsets_.resize(values_.size());
  for (size_t i = 0; i < values_.size(); ++i) {
    offsets_[i] = plan.offsets[static_cast<size_t>(owner[i])];
  }
  const auto size_bytes = static_cast<size_t>(plan.size_bytes);
  arena_ = lender != nullptr ? lender->arena_ : nullptr;
  if (arena_ != nullptr && arena_->size_bytes() >= size_bytes) return;
  own_arena_ = device_.allocate(size_bytes);
  arena_ = own_arena_.get();
}

int64_t Plan::value_bytes(const GraphValue& value) const {
  const int64_t n_rows = max_rows(value.rows);
  return is_rows(*value.format) ? n_rows * value.n_cols * static_cast<int64_t>(sizeof(float))
                                : value.format->size_bytes(n_rows, value.n_cols);
}

MatrixView Plan::view(int value) const {
  const GraphValue& info = values_[static_cast<size_t>(value)];
  auto* data = static_cast<std::byte*>(arena_->data()) + offsets_[static_cast<size_t>(value)];
  return {.data = reinterpret_cast<float*>(data),
          .n_rows = max_rows(info.rows),
          .n_cols = info.n_cols,
          .row_stride_elems = info.n_cols};
}

void Plan::bind(const WeightStore& weights, const KvCache& cache, Plan* lender) {
  BindContext context{.views = {}, .weights = weights, .cache = cache};
  for (size_t i = 0; i < values_.size(); ++i) {
    context.views.push_back({.matrix = view(static_cast<int>(i)), .format = values_[i].format});
  }
  for (Node& node : nodes_) {
    const bool is_output = node.rows == RowCount::kOutputs;
    context.ids = is_gather(node.graph) ? outputs_.data() : ids_.data();
    context.slots = is_output ? output_slots_.data() : slots_.data();
    context.rows_format = node.kernel != nullptr ? node.kernel->activation : nullptr;
    bind_args(node.graph, context);
    if (const auto* attention = std::get_if<AttentionArgs>(&node.graph.args))
      attention_scratch_elems_ = std::max(
          attention_scratch_elems_, wanted_attention_scratch(*attention, max_rows(node.rows)));
  }
  // Shared by all layers: each attention begins after all that comes before it. Counters in it are
  // zero by birth.
  if (lender != nullptr && lender->attention_scratch_elems_ >= attention_scratch_elems_) {
    attention_scratch_ = lender->attention_scratch_;
  } else {
    own_attention_scratch_ =
        device_.allocate(static_cast<size_t>(attention_scratch_elems_) * sizeof(float));
    attention_scratch_ = own_attention_scratch_.get();
  }
  for (Node& node : nodes_)
    if (auto* attention = std::get_if<AttentionArgs>(&node.graph.args))
      attention->scratch = static_cast<float*>(attention_scratch_->data());
}

void Plan::choose_kernels(const WeightStore& weights, const KvCache& cache) {
  const KernelRegistry& registry = KernelRegistry::instance();
  for (Node& node : nodes_) {
    const Op op = node.graph.op();
    void* args = std::visit([](auto& alternative) -> void* { return &alternative; }, node.graph.args);
    KernelRegistry::Query query{.op = op, .args = args};
    std::string detail;
    if (node.kernel != nullptr) {
      query.dtype = node.kernel->dtype;  // chosen with its group of nodes
    } else if (op == Op::kMatmul) {
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
    bound_.push_back({.kernel = node.kernel, .args = args, .order = node.order});
  }
}

bool Plan::begin(const Step& step) {
  const size_t n_tokens = step.ids.size();
  const size_t n_outputs = step.outputs.size();
  OLX_CHECK(n_tokens > 0 && n_tokens <= ids_.size() && step.slots.size() == n_tokens);
  OLX_CHECK(step.n_prompt >= 0 && step.n_prompt <= static_cast<int64_t>(n_tokens));
  OLX_CHECK(n_outputs <= outputs_.size());
  std::copy(step.ids.begin(), step.ids.end(), ids_.begin());
  std::copy(step.slots.begin(), step.slots.end(), slots_.begin());
  for (size_t i = 0; i < n_outputs; ++i) {
    outputs_[i] = step.outputs[i];
    output_slots_[i] = step.slots[static_cast<size_t>(step.outputs[i])];
  }
  counts_ = {.n_tokens = static_cast<int64_t>(n_tokens),
             .n_outputs = static_cast<int64_t>(n_outputs),
             .n_prompt = step.n_prompt,
             .attention_scratch_elems = attention_scratch_elems_};
  for (Node& node : nodes_) set_rows(node.graph, node.rows, counts_);
  n_nodes_ = n_outputs == 0 ? n_without_outputs_ : nodes_.size();
  if (candidates_ && step.n_candidates > 0 && n_outputs > 0) {
    MatrixView logits = view(output_value_);
    logits.n_rows = static_cast<int64_t>(n_outputs);
    candidates_->set(logits, step.n_candidates);
    n_nodes_ = bound_.size();
  }
  return n_nodes_ > 0;
}

void Plan::take(const Plan& from, int value) {
  const MatrixView to = view(value), source = from.view(value);
  const int64_t n_rows = values_[static_cast<size_t>(value)].rows == RowCount::kTokens
                             ? counts_.n_tokens
                             : counts_.n_outputs;
  std::copy_n(source.data, n_rows * source.n_cols, to.data);
}

bool Plan::run(const std::atomic<bool>* cancel, FileMatmuls* matmuls) {
  std::span<const BoundNode> nodes = std::span(bound_).first(n_nodes_);
  std::vector<BoundNode> instead;
  if (matmuls != nullptr) {
    instead.assign(nodes.begin(), nodes.end());
    for (size_t i = 0; i < std::min(n_nodes_, nodes_.size()); ++i)
      if (nodes_[i].graph.op() == Op::kMatmul) instead[i] = matmuls->instead_of(nodes[i], nodes_[i].graph.weight);
    nodes = instead;
  }
  const bool is_done = device_.execute(nodes, cancel);
  if (is_done) device_.sync();
  if (matmuls != nullptr) matmuls->end_step();
  return is_done;
}

float* Plan::output(int64_t i) const {
  const MatrixView output = view(output_value_);
  OLX_CHECK(i >= 0 && i < output.n_rows);
  return output.row(i);
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
