#include "engine/model/model_runner.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <vector>

#include "engine/arch/architecture.h"
#include "engine/cache/kv_cache.h"
#include "engine/error.h"
#include "engine/graph/embedding_graph.h"
#include "engine/graph/file_matmuls.h"
#include "engine/graph/graph_builder.h"
#include "engine/graph/split_graph.h"
#include "engine/graph/staged_plan.h"
#include "engine/model/placement.h"
#include "engine/model/weight_store.h"
#include "engine/model/weight_table.h"
#include "gguf/check.h"
#include "kernels/api/backend.h"

namespace olx::engine {
namespace {

// One line for whoever runs the program: nothing has failed that the caller has to know of.
void warn(const gguf::GgufFile& file, const std::string& text) {
  std::fprintf(stderr, "warning: %s: %s\n", file.path().c_str(), text.c_str());
}

const kernels::Backend& usable_backend(const std::string& name) {
  const kernels::Backend* backend = kernels::find_backend(name);
  if (backend == nullptr) {
    std::string names;
    for (const kernels::Backend& row : kernels::backends()) {
      names += (names.empty() ? "" : ", ") + std::string(row.name);
    }
    throw EngineError(ErrorCode::kUnsupported,
                      "unknown device " + name + " (known: " + names + ")");
  }
  if (backend->unavailable_reason != nullptr) {
    throw EngineError(ErrorCode::kUnsupported, "device " + name + ": " + backend->unavailable_reason);
  }
  return *backend;
}

std::unique_ptr<kernels::Device> open_processor(const RunnerOptions& options) {
  try {
    return usable_backend("cpu").open({.n_threads = options.n_threads, .cpu_isa = options.cpu_isa});
  } catch (const kernels::DeviceError& error) {
    throw EngineError(ErrorCode::kUnsupported, error.what());
  }
}

// Those of options.device: which of them are needed shows when what each has free is known, for
// which it has to be open. One that cannot be opened is named on standard error; without any, that
// is the error.
std::vector<std::unique_ptr<kernels::Device>> open_all(const gguf::GgufFile& file,
                                                       const RunnerOptions& options) {
  if (options.open_devices) return options.open_devices();
  const kernels::Backend& backend = usable_backend(options.device);
  std::vector<std::unique_ptr<kernels::Device>> devices;
  std::vector<std::string> faults;
  try {
    for (const kernels::DeviceInfo& info : backend.devices()) {
      try {
        devices.push_back(backend.open(
            {.index = info.index, .n_threads = options.n_threads, .cpu_isa = options.cpu_isa}));
      } catch (const kernels::DeviceError& error) {
        faults.push_back(error.what());
      }
    }
  } catch (const kernels::DeviceError& error) {
    faults.push_back(error.what());
  }
  if (devices.empty()) throw EngineError(ErrorCode::kUnsupported, faults.at(0));
  for (const std::string& fault : faults) warn(file, fault + "; it runs on other devices");
  return devices;
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

}  // namespace

// What finish_loading() will read, and where a step takes it from until then.
struct DeferredWeights {
  DeferredWeights(std::shared_ptr<const gguf::GgufFile> of_file, const WeightTable& of_table, WeightStore& of_store)
      : file(std::move(of_file)), table(of_table), store(of_store), matmuls(*file, table, store) {}
  std::shared_ptr<const gguf::GgufFile> file;
  WeightTable table;
  WeightStore& store;
  FileMatmuls matmuls;
  int64_t n_steps = 0;  // made without
};

struct ModelRunner::Impl {
  ModelConfig config;
  RunnerOptions options;
  int64_t n_parameters = 0;
  // Declared in the order of need: a plan points into the cache and the weights, all of them into the devices.
  std::unique_ptr<kernels::Device> host;  // the processor; nullptr: a device does all
  std::vector<std::unique_ptr<kernels::Device>> devices;  // beside it
  std::vector<Share> shares;
  int64_t n_places = 0;
  int64_t n_device_layers = 0;
  std::vector<Stage> stages;
  std::unique_ptr<KvCache> cache;
  std::unique_ptr<StagedPlan> plan;
  std::vector<Graph> hidden_parts;    // kept until hidden_plan is asked for
  std::unique_ptr<StagedPlan> hidden_plan;
  std::unique_ptr<DeferredWeights> deferred;  // nullptr: all are loaded
  std::atomic<uint64_t> n_unread_bytes{0};
  int64_t loading_ns = 0;  // not yet told

  bool can_wait_for_all() const;
  void open_devices(const gguf::GgufFile& file);
  void share_out(const Network& network, int64_t n);
  void close_unused_devices();
  void choose_layers(const gguf::GgufFile& file, const Network& network);
  void report_need() const;
  void take_memory(const std::shared_ptr<const gguf::GgufFile>& file, const Network& network);
  bool may_defer(const gguf::GgufFile& file) const;
  void load(const gguf::GgufFile& file, const WeightTable& table, WeightStore::Portion portion);
  std::unique_ptr<StagedPlan> make_plan(std::span<const Graph> parts, Plan::Limits limits) const;
  void make_hidden_plan();
  // Gives back what a try to take it took.
  void forget_memory() {
    deferred.reset();
    n_unread_bytes = 0;
    hidden_plan.reset();
    plan.reset();
    cache.reset();
    stages.clear();
  }

  std::atomic<bool> is_lost{false};
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

void ModelRunner::Impl::open_devices(const gguf::GgufFile& file) {
  if (options.device != "cpu" || options.open_devices) {
    try {
      devices = open_all(file, options);
    } catch (const std::exception& error) {
      if (options.is_device_required) throw;
      warn(file, std::string(error.what()) + "; it runs on the processor");
    }
    const auto is_main = [&](const auto& device) {
      return device->info().index == options.main_gpu;
    };
    if (std::any_of(devices.begin(), devices.end(), is_main))
      std::erase_if(devices, [&](const auto& device) { return !is_main(device); });
  }
  // A device that does all leaves the processor alone, which keeps threads and memory for its kernels.
  if (devices.empty() || devices[0]->free_bytes() || options.n_gpu_layers >= 0)
    host = open_processor(options);
}

// n: as RunnerOptions::n_gpu_layers.
void ModelRunner::Impl::share_out(const Network& network, int64_t n) {
  std::vector<kernels::Device*> all;
  for (const auto& device : devices) all.push_back(device.get());
  shares = divide(network, host.get(), all, n, options.gpu_spare_bytes);
  n_device_layers = 0;
  for (const Share& share : shares)
    if (share.device != host.get()) n_device_layers += share.n_places;
}

// With all that their drivers hold.
void ModelRunner::Impl::close_unused_devices() {
  std::erase_if(devices, [&](const auto& device) {
    return std::none_of(shares.begin(), shares.end(),
                        [&](const Share& share) { return share.device == device.get(); });
  });
}

// As many as asked for, or as there is memory.
void ModelRunner::Impl::choose_layers(const gguf::GgufFile& file, const Network& network) {
  n_places = network.n_places();
  try {
    share_out(network, options.n_gpu_layers);
    place(network, shares);  // throws what has no kernel
  } catch (const EngineError& error) {
    if (options.is_device_required || host == nullptr || devices.empty()) throw;
    warn(file, std::string(error.what()) + "; it runs on the processor");
    share_out(network, 0);
  }
}

void ModelRunner::Impl::report_need() const {
  if (!options.on_need) return;
  MemoryNeed need;
  for (const Stage& stage : stages) {
    if (stage.device->free_bytes()) continue;
    need.weight_bytes += stage.weights->size_bytes();
    need.kv_bytes += stage.kv_bytes;
    need.scratch_bytes += stage.scratch_bytes;
  }
  options.on_need(need);
}

std::unique_ptr<StagedPlan> ModelRunner::Impl::make_plan(std::span<const Graph> parts, Plan::Limits limits) const {
  std::vector<StagedPlan::Stage> places;
  for (const Stage& stage : stages) places.push_back({.device = stage.device, .weights = stage.weights.get()});
  return std::make_unique<StagedPlan>(parts, places, *cache, limits, plan.get());
}

// Of the memory of the other plan, as far as that is enough.
void ModelRunner::Impl::make_hidden_plan() {
  hidden_plan = make_plan(hidden_parts, {.n_tokens = options.n_batch, .n_outputs = options.n_batch});
}

// Memory first, bytes last: what does not fit is said before a long read.
void ModelRunner::Impl::take_memory(const std::shared_ptr<const gguf::GgufFile>& file, const Network& network) {
  for (;;) {
    try {
      stages = place(network, shares);
      report_need();
      std::vector<KvCache::Part> cache_parts;
      std::vector<Graph> parts;
      for (Stage& stage : stages) {
        stage.weights->allocate(network.table);
        cache_parts.push_back({.device = stage.device, .n_layers = stage.n_cache_layers});
        parts.push_back(std::move(stage.graph));
      }
      cache = std::make_unique<KvCache>(cache_parts, network.cache);
      plan = make_plan(parts, {.n_tokens = options.n_batch, .n_outputs = options.n_logits_max, .has_candidates = true});
      std::vector<int64_t> first_layers;
      for (const Stage& stage : stages) first_layers.push_back(stage.first_layer);
      hidden_parts = split_graph(embedding_graph(network.graph), first_layers);
      if (options.makes_embeddings) make_hidden_plan();
      // What the first step would take: where there is none of it left, this is the time to notice.
      const std::vector<uint64_t> arrays = network.step_arrays();
      for (const Stage& stage : stages) stage.device->reserve_staging(arrays);
      const bool is_deferred = may_defer(*file);
      load(*file, network.table, is_deferred ? WeightStore::Portion::kRest : WeightStore::Portion::kAll);
      if (is_deferred) {
        deferred = std::make_unique<DeferredWeights>(file, network.table, *stages[0].weights);
        n_unread_bytes = stages[0].weights->multiplied_bytes();
      }
      close_unused_devices();
      return;
    } catch (const kernels::DeviceError& error) {
      forget_memory();
      if (n_device_layers == 0 || host == nullptr) throw;
      share_out(network, fewer_layers(n_device_layers));
      warn(*file, std::string(error.what()) + "; trying with " + std::to_string(n_device_layers) + " of " +
                     std::to_string(n_places) + " layers on the device");
    }
  }
}

// From a disk, waiting for it and filling memory take place at the same time: then nothing is gained by a first step that only reads.
bool ModelRunner::Impl::may_defer(const gguf::GgufFile& file) const {
  if (options.n_deferred_bytes_min < 0 || stages.size() != 1 || stages[0].device != host.get()) return false;
  if (stages[0].weights->size_bytes() < static_cast<uint64_t>(options.n_deferred_bytes_min)) return false;
  return !plan->is_fused() && file.is_cached();
}

void ModelRunner::Impl::load(const gguf::GgufFile& file, const WeightTable& table, WeightStore::Portion portion) {
  uint64_t total_bytes = 0, done_bytes = 0;
  for (const Stage& stage : stages) total_bytes += stage.weights->size_bytes();
  for (const Stage& stage : stages) {
    const uint64_t own_bytes = stage.weights->size_bytes();
    stage.weights->load(file, table, portion, [&](float fraction) {
      if (!options.on_progress) return true;
      const double bytes = static_cast<double>(done_bytes) + static_cast<double>(fraction) * static_cast<double>(own_bytes);
      return options.on_progress(static_cast<float>(bytes / static_cast<double>(total_bytes)));
    });
    done_bytes += own_bytes;
  }
}

std::unique_ptr<ModelRunner> ModelRunner::open(std::shared_ptr<const gguf::GgufFile> shared_file, const RunnerOptions& options) {
  const gguf::GgufFile& file = *shared_file;
  auto impl = std::make_unique<Impl>();
  impl->config = read_model_config(file);
  const ModelConfig& config = impl->config;
  const Architecture& architecture = *find_architecture(config.architecture);
  const WeightTable table(file, architecture, config);
  const Graph graph = build_graph(architecture, config, table);
  for (const gguf::TensorInfo& tensor : file.tensors()) impl->n_parameters += tensor.n_elems();

  impl->options = options;
  impl->open_devices(file);
  impl->options = resolved(options, impl->host ? *impl->host : *impl->devices[0]);
  const Network network{.graph = graph,
                        .table = table,
                        .cache = {.n_layers = config.n_layers,
                                  .n_kv_heads = config.n_kv_heads,
                                  .head_dim = config.head_dim,
                                  .n_sequences = options.n_sequences,
                                  .n_ctx = options.n_ctx,
                                  .dtype = options.kv_dtype},
                        .n_batch = options.n_batch,
                        .n_logits = impl->options.n_logits_max,
                        .makes_embeddings = options.makes_embeddings};
  try {
    impl->choose_layers(file, network);
    impl->take_memory(shared_file, network);
  } catch (const kernels::DeviceError& error) {
    throw EngineError(ErrorCode::kOutOfMemory, file.path() + ": " + error.what());
  }
  impl->next_position.resize(static_cast<size_t>(options.n_sequences));
  return std::unique_ptr<ModelRunner>(new ModelRunner(std::move(impl)));
}

const ModelConfig& ModelRunner::config() const { return impl_->config; }
const RunnerOptions& ModelRunner::options() const { return impl_->options; }
std::string ModelRunner::device_name() const {
  std::string names;
  for (const Stage& stage : impl_->stages) names += (names.empty() ? "" : " + ") + stage.device->info().name;
  return names;
}
bool ModelRunner::takes_all_processors() const {
  return std::any_of(impl_->stages.begin(), impl_->stages.end(), [](const Stage& stage) { return stage.device->info().takes_all_processors; });
}
uint64_t ModelRunner::weight_bytes() const {
  uint64_t n_bytes = 0;
  for (const Stage& stage : impl_->stages) n_bytes += stage.weights->size_bytes();
  return n_bytes;
}
uint64_t ModelRunner::kv_bytes() const { return impl_->cache->size_bytes(); }
uint64_t ModelRunner::scratch_bytes() const {
  uint64_t n_bytes = 0;
  for (size_t i = 0; i < impl_->stages.size(); ++i) {
    n_bytes += impl_->plan->scratch_bytes(i);
    if (impl_->hidden_plan) n_bytes += impl_->hidden_plan->scratch_bytes(i);
  }
  return n_bytes;
}
int64_t ModelRunner::n_device_layers() const { return impl_->n_device_layers; }
int64_t ModelRunner::n_places() const { return impl_->n_places; }
uint64_t ModelRunner::device_bytes() const {
  uint64_t n_bytes = 0;
  for (const Stage& stage : impl_->stages)
    if (stage.device != impl_->host.get()) n_bytes += stage.weights->size_bytes() + stage.kv_bytes;
  return n_bytes;
}
int64_t ModelRunner::n_kv_pages() const { return impl_->cache->tables().n_pages(); }
int64_t ModelRunner::n_kv_pages_used() const { return impl_->cache->tables().n_held_pages(); }
int64_t ModelRunner::n_kv_pages_cached() const {
  return n_kv_pages() - impl_->cache->tables().n_free_pages() - n_kv_pages_used();
}
const PrefixCacheStats& ModelRunner::prefix_stats() const { return impl_->cache->prefixes().stats(); }
int64_t ModelRunner::n_parameters() const { return impl_->n_parameters; }
std::string ModelRunner::describe_plan() const { return impl_->plan->describe(); }

bool ModelRunner::is_lost() const { return impl_->is_lost; }

bool ModelRunner::Impl::can_wait_for_all() const {
  try {
    for (const Stage& stage : stages) stage.device->sync();
    return true;
  } catch (const kernels::DeviceError&) {
    return false;
  }
}

bool ModelRunner::forward(std::span<const BatchToken> tokens, const std::atomic<bool>* cancel, int64_t n_candidates) {
  impl_->n_logits = 0;
  OLX_CHECK(n_candidates >= 0 && n_candidates <= n_candidates_max());
  if (!run(*impl_->plan, impl_->options.n_logits_max, tokens, cancel, n_candidates)) return false;
  impl_->n_logits = static_cast<int64_t>(impl_->outputs.size());
  return true;
}

bool ModelRunner::forward_hidden(std::span<const BatchToken> tokens, const std::atomic<bool>* cancel) {
  Impl& impl = *impl_;
  if (!impl.hidden_plan) {
    try {
      impl.make_hidden_plan();
    } catch (const kernels::DeviceError& error) {
      throw EngineError(ErrorCode::kOutOfMemory, std::string("embedding: ") + error.what());
    }
  }
  impl.n_hidden = 0;
  impl.n_logits = 0;  // they lie where this computes
  if (!run(*impl.hidden_plan, impl.options.n_batch, tokens, cancel, 0)) return false;
  impl.n_hidden = static_cast<int64_t>(impl.outputs.size());
  return true;
}

bool ModelRunner::is_loaded() const { return impl_->deferred == nullptr; }

void ModelRunner::finish_loading(const std::function<bool(float fraction)>& on_progress) {
  if (is_loaded()) return;
  using Clock = std::chrono::steady_clock;
  const Clock::time_point begun = Clock::now();
  const auto count = [&] { impl_->loading_ns += std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - begun).count(); };
  try {
    DeferredWeights& deferred = *impl_->deferred;
    deferred.store.load(*deferred.file, deferred.table, WeightStore::Portion::kMultiplied, [&](float fraction) {
      const double n_bytes = static_cast<double>(deferred.store.multiplied_bytes());
      impl_->n_unread_bytes = static_cast<uint64_t>(n_bytes * (1 - static_cast<double>(fraction)));
      return !on_progress || on_progress(fraction);
    });
  } catch (...) {
    count();
    throw;
  }
  impl_->deferred.reset();
  count();
}

uint64_t ModelRunner::n_unread_bytes() const { return impl_->n_unread_bytes; }

int64_t ModelRunner::take_loading_ns() { return std::exchange(impl_->loading_ns, 0); }

// False when cancelled.
bool ModelRunner::loads_for_step(const std::atomic<bool>* cancel) {
  try {
    finish_loading([cancel](float) { return cancel == nullptr || !*cancel; });
    return true;
  } catch (const EngineError& error) {
    if (error.code() == ErrorCode::kCancelled) return false;
    throw;
  }
}

bool ModelRunner::run(StagedPlan& plan, int64_t n_outputs_max, std::span<const BatchToken> tokens, const std::atomic<bool>* cancel,
                      int64_t n_candidates) {
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
  try {
    // A prompt that goes on in the next step needs the weights in memory sooner than its first part.
    if (!is_loaded() && (impl.deferred->n_steps > 0 || impl.outputs.empty()) && !loads_for_step(cancel)) return false;
    if (!is_loaded()) ++impl.deferred->n_steps;
    const Plan::Step step{
        .ids = impl.ids, .slots = impl.slots, .n_prompt = n_prompt, .outputs = impl.outputs, .n_candidates = n_candidates};
    if (!plan.execute(step, cancel, is_loaded() ? nullptr : &impl.deferred->matmuls)) return false;
  } catch (const kernels::DeviceError&) {
    impl.is_lost = !impl.can_wait_for_all();  // what was enqueued has ended, so that nothing writes behind a later step's back
    throw;
  } catch (...) {
    if (!is_loaded()) impl.is_lost = true;  // the file is not what it was
    throw;
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

int64_t ModelRunner::n_candidates_max() const { return impl_->plan->n_candidates_max(); }

CandidateRow ModelRunner::candidates(int64_t i) const {
  OLX_CHECK(i >= 0 && i < impl_->n_logits);
  return impl_->plan->candidates(i);
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
