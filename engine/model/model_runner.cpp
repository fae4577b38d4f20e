#include "engine/model/model_runner.h"

#include <algorithm>
#include <vector>

#include "engine/arch/architecture.h"
#include "engine/cache/kv_cache.h"
#include "engine/error.h"
#include "engine/graph/embedding_graph.h"
#include "engine/graph/graph_builder.h"
#include "engine/graph/plan.h"
#include "engine/model/weight_store.h"
#include "engine/model/weight_table.h"
#include "gguf/check.h"
#include "kernels/api/backend.h"

namespace olx::engine {
namespace {

std::unique_ptr<kernels::Device> open_device(const RunnerOptions& options) {
  const kernels::Backend* backend = kernels::find_backend(options.device);
  if (backend == nullptr) {
    std::string names;
    for (const kernels::Backend& row : kernels::backends()) {
      names += (names.empty() ? "" : ", ") + std::string(row.name);
    }
    throw EngineError(ErrorCode::kUnsupported,
                      "unknown device " + options.device + " (known: " + names + ")");
  }
  if (backend->unavailable_reason != nullptr) {
    throw EngineError(ErrorCode::kUnsupported, "device " + options.device + ": " + backend->unavailable_reason);
  }
  try {
    return backend->open({.n_threads = options.n_threads, .cpu_isa = options.cpu_isa});
  } catch (const kernels::DeviceError& error) {
    throw EngineError(ErrorCode::kUnsupported, error.what());
  }
}

RunnerOptions resolved(RunnerOptions options, const kernels::Device& device) {
  OLX_CHECK(options.n_ctx > 0 && options.n_sequences > 0 && options.n_batch > 0);
  options.n_threads = device.info().n_threads;
  if (options.n_logits_max <= 0) options.n_logits_max = std::max(options.n_sequences, 8);
  options.n_logits_max = std::min(options.n_logits_max, options.n_batch);
  return options;
}

Graph build_graph(const Architecture& architecture, const ModelConfig& config, const WeightTable& table) {
  GraphBuilder builder(config, table);
  architecture.build(config, builder);
  return builder.take();
}

// More than the plan will ask for, which shares the space of values that are not needed at the same time: at most four
// rows as wide as the widest live at once (the residual, what a block reads, and the two it joins), encoded forms included.
uint64_t scratch_bound(const Graph& graph, int64_t n_tokens, int64_t n_outputs) {
  constexpr int64_t kLiveRows = 4;
  int64_t widest = 0, widest_output = 0;
  for (const GraphValue& value : graph.values)
    (value.rows == RowCount::kTokens ? widest : widest_output) =
        std::max(value.rows == RowCount::kTokens ? widest : widest_output, value.n_cols);
  const int64_t n_values = n_tokens * widest + n_outputs * widest_output;
  return static_cast<uint64_t>(n_values * kLiveRows) * sizeof(float);
}

}  // namespace

struct ModelRunner::Impl {
  ModelConfig config;
  RunnerOptions options;
  int64_t n_parameters = 0;
  // Declared in the order of need: a plan points into the cache and the weights, all of them into the device.
  std::unique_ptr<kernels::Device> device;
  std::unique_ptr<WeightStore> weights;
  std::unique_ptr<KvCache> cache;
  std::unique_ptr<Plan> plan;
  Graph hidden_graph;                 // kept until hidden_plan is asked for
  std::unique_ptr<Plan> hidden_plan;
  int64_t n_logits = 0;
  int64_t n_hidden = 0;

  // The step being made; kept to avoid allocation.
  std::vector<int32_t> ids;
  std::vector<kernels::TokenSlot> slots;
  std::vector<int32_t> outputs;
  std::vector<int64_t> next_position;  // per sequence
};

ModelRunner::ModelRunner(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ModelRunner::~ModelRunner() = default;

std::unique_ptr<ModelRunner> ModelRunner::open(const gguf::GgufFile& file, const RunnerOptions& options) {
  auto impl = std::make_unique<Impl>();
  impl->config = read_model_config(file);
  const ModelConfig& config = impl->config;
  const Architecture& architecture = *find_architecture(config.architecture);
  const WeightTable table(file, architecture, config);
  const Graph graph = build_graph(architecture, config, table);
  impl->hidden_graph = embedding_graph(graph);
  for (const gguf::TensorInfo& tensor : file.tensors()) impl->n_parameters += tensor.n_elems();

  impl->device = open_device(options);
  impl->options = resolved(options, *impl->device);
  try {
    // Memory first, bytes last: what does not fit is said before a long read.
    impl->weights = std::make_unique<WeightStore>(graph, table, *impl->device, options.n_batch);
    const KvCache::Shape cache_shape{.n_layers = config.n_layers,
                                     .n_kv_heads = config.n_kv_heads,
                                     .head_dim = config.head_dim,
                                     .n_sequences = options.n_sequences,
                                     .n_ctx = options.n_ctx,
                                     .dtype = options.kv_dtype};
    if (options.on_need)
      options.on_need({.weight_bytes = impl->weights->size_bytes(),
                       .kv_bytes = KvCache::needed_bytes(cache_shape),
                       .scratch_bytes = scratch_bound(graph, options.n_batch, impl->options.n_logits_max)});
    impl->cache = std::make_unique<KvCache>(*impl->device, cache_shape);
    impl->weights->load(file, table, options.on_progress);
    impl->plan = std::make_unique<Plan>(
        *impl->device, graph, *impl->weights, *impl->cache,
        Plan::Limits{.n_tokens = options.n_batch, .n_outputs = impl->options.n_logits_max});
  } catch (const kernels::DeviceError& error) {
    throw EngineError(ErrorCode::kOutOfMemory, file.path() + ": " + error.what());
  }
  impl->next_position.resize(static_cast<size_t>(options.n_sequences));
  return std::unique_ptr<ModelRunner>(new ModelRunner(std::move(impl)));
}

const ModelConfig& ModelRunner::config() const { return impl_->config; }
const RunnerOptions& ModelRunner::options() const { return impl_->options; }
std::string ModelRunner::device_name() const { return impl_->device->info().name; }
uint64_t ModelRunner::weight_bytes() const { return impl_->weights->size_bytes(); }
uint64_t ModelRunner::kv_bytes() const { return impl_->cache->size_bytes(); }
uint64_t ModelRunner::scratch_bytes() const { return impl_->plan->scratch_bytes(); }
int64_t ModelRunner::n_kv_pages() const { return impl_->cache->tables().n_pages(); }
int64_t ModelRunner::n_kv_pages_used() const { return impl_->cache->tables().n_held_pages(); }
int64_t ModelRunner::n_kv_pages_cached() const {
  return n_kv_pages() - impl_->cache->tables().n_free_pages() - n_kv_pages_used();
}
const PrefixCacheStats& ModelRunner::prefix_stats() const { return impl_->cache->prefixes().stats(); }
int64_t ModelRunner::n_parameters() const { return impl_->n_parameters; }
std::string ModelRunner::describe_plan() const { return impl_->plan->describe(); }

bool ModelRunner::forward(std::span<const BatchToken> tokens, const std::atomic<bool>* cancel) {
  impl_->n_logits = 0;
  if (!run(*impl_->plan, impl_->options.n_logits_max, tokens, cancel)) return false;
  impl_->n_logits = static_cast<int64_t>(impl_->outputs.size());
  return true;
}

bool ModelRunner::forward_hidden(std::span<const BatchToken> tokens, const std::atomic<bool>* cancel) {
  Impl& impl = *impl_;
  if (!impl.hidden_plan) {
    try {
      impl.hidden_plan = std::make_unique<Plan>(
          *impl.device, impl.hidden_graph, *impl.weights, *impl.cache,
          Plan::Limits{.n_tokens = impl.options.n_batch, .n_outputs = impl.options.n_batch});
    } catch (const kernels::DeviceError& error) {
      throw EngineError(ErrorCode::kOutOfMemory, std::string("embedding: ") + error.what());
    }
  }
  impl.n_hidden = 0;
  if (!run(*impl.hidden_plan, impl.options.n_batch, tokens, cancel)) return false;
  impl.n_hidden = static_cast<int64_t>(impl.outputs.size());
  return true;
}

bool ModelRunner::run(Plan& plan, int64_t n_outputs_max, std::span<const BatchToken> tokens, const std::atomic<bool>* cancel) {
  Impl& impl = *impl_;
  OLX_CHECK(!tokens.empty() && static_cast<int64_t>(tokens.size()) <= impl.options.n_batch);
  BlockTables& tables = impl.cache->tables();
  for (int64_t s = 0; s < impl.options.n_sequences; ++s) {
    impl.next_position[static_cast<size_t>(s)] = tables.n_used(s);
  }
  impl.ids.clear();
  impl.slots.clear();
  impl.outputs.clear();
  int64_t n_prompt = 0;
  for (const BatchToken& token : tokens) {
    OLX_CHECK(token.id >= 0 && token.id < impl.config.vocab_size);
    OLX_CHECK(token.sequence >= 0 && token.sequence < impl.options.n_sequences);
    OLX_CHECK(token.position == impl.next_position[static_cast<size_t>(token.sequence)]++);
    if (token.wants_logits) impl.outputs.push_back(static_cast<int32_t>(impl.ids.size()));
    impl.ids.push_back(token.id);
    impl.slots.push_back({.sequence = token.sequence, .position = token.position});
    OLX_CHECK(token.is_prompt || n_prompt == 0);  // prompts come last
    n_prompt += token.is_prompt ? 1 : 0;
  }
  OLX_CHECK(static_cast<int64_t>(impl.outputs.size()) <= n_outputs_max);
  for (int64_t s = 0; s < impl.options.n_sequences; ++s) {
    const int64_t end = impl.next_position[static_cast<size_t>(s)];
    // Costs a comparison where the caller has reserved already; makes shared pages safe where it has not.
    if (end > tables.n_used(s)) OLX_CHECK(impl.cache->reserve(s, end));
  }
  if (!plan.execute({.ids = impl.ids, .slots = impl.slots, .n_prompt = n_prompt, .outputs = impl.outputs}, cancel)) {
    return false;
  }
  for (int64_t s = 0; s < impl.options.n_sequences; ++s) {
    const int64_t end = impl.next_position[static_cast<size_t>(s)];
    if (end > tables.n_used(s)) tables.set_used(s, end);
  }
  return true;
}

std::span<float> ModelRunner::logits(int64_t i) {
  OLX_CHECK(i >= 0 && i < impl_->n_logits);
  return {impl_->plan->output(i), static_cast<size_t>(impl_->config.vocab_size)};
}

std::span<const float> ModelRunner::hidden(int64_t i) const {
  OLX_CHECK(i >= 0 && i < impl_->n_hidden);
  return {impl_->hidden_plan->output(i), static_cast<size_t>(impl_->config.d_model)};
}

int64_t ModelRunner::n_positions(int32_t sequence) const { return impl_->cache->tables().n_used(sequence); }

bool ModelRunner::reserve(int32_t sequence, int64_t n_positions) {
  return impl_->cache->reserve(sequence, n_positions);
}

void ModelRunner::truncate(int32_t sequence, int64_t n_positions) {
  impl_->cache->tables().truncate(sequence, n_positions);
}

int64_t ModelRunner::attach_prefix(int32_t sequence, std::span<const int32_t> tokens) {
  return impl_->cache->prefixes().attach(sequence, tokens);
}

void ModelRunner::keep_prefix(int32_t sequence, std::span<const int32_t> tokens, bool is_final) {
  impl_->cache->prefixes().insert(sequence, tokens, is_final);
}

}  // namespace olx::engine
