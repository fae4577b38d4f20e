#include "server/models/engine_host.h"

#include <fmt/format.h>

#include <algorithm>

#include "server/http/api_error.h"

namespace olx::server {

struct EngineHost::Entry {
  std::string name, digest;
  engine::EngineOptions options;
  std::shared_ptr<ModelHost> model;  // null while loading; shared with who asks it for figures
  int64_t keep_alive_ns = 0;
  int n_users = 0;
  HostClock::time_point expires;  // while idle

  bool is_forever() const { return keep_alive_ns < 0; }
  bool is_dead() const { return model != nullptr && !model->is_alive(); }
};

namespace {

// Whether a model loaded with options a serves a request with b. One that does not say how many
// layers devices get, or which device, takes what is there; contexts longer than what the model was
// trained for are cut to that, and so the same.
bool same_load(const engine::EngineOptions& a, const engine::ModelInfo& info,
               const engine::EngineOptions& b) {
  const auto context = [&](int64_t n_ctx) {
    return info.n_ctx_train > 0 ? std::min(n_ctx, info.n_ctx_train) : n_ctx;
  };
  const bool is_placed_alike =
      (b.n_gpu_layers < 0 || (a.device == b.device && a.n_gpu_layers == b.n_gpu_layers)) &&
      (b.main_gpu < 0 || a.main_gpu == b.main_gpu);
  return is_placed_alike && a.model_path == b.model_path && a.template_text == b.template_text &&
         a.adapter_paths == b.adapter_paths && a.n_threads == b.n_threads &&
         context(a.n_ctx) == context(b.n_ctx) && a.n_parallel == b.n_parallel &&
         a.n_batch == b.n_batch && a.kv_cache_type == b.kv_cache_type &&
         a.speculate == b.speculate && a.draft_path == b.draft_path;
}

// A client that has just got its answer may be here again before that answer's lease has gone.
constexpr auto kLeaseEnds = std::chrono::milliseconds(250);

}  // namespace

EngineHost::Lease::~Lease() {
  if (entry_ != nullptr) host_->release(entry_);
}
ModelHost& EngineHost::Lease::model() const { return *entry_->model; }

EngineHost::EngineHost(Limits limits, std::function<uint64_t()> free_memory, OpenModel open)
    : limits_(limits), free_memory_(std::move(free_memory)), open_(std::move(open)), timer_([this] { expire_until_stopped(); }) {}

EngineHost::~EngineHost() {
  std::unique_lock lock(mutex_);
  is_stopping_ = true;
  changed_.notify_all();
  changed_.wait(lock, [&] {
    return dead_.empty() && std::all_of(entries_.begin(), entries_.end(), [](const auto& e) { return e.second->n_users == 0; });
  });
}

EngineHost::Lease EngineHost::acquire(const Request& request) {
  std::unique_lock lock(mutex_);
  // Ollama's words, two blanks included.
  if (!has_place(request) && n_waiting() >= limits_.n_waiting)
    throw ApiError(503, "server busy, please try again.  maximum pending requests exceeded");
  struct Waiting {  // the mutex is held wherever it ends
    int& count;
    explicit Waiting(int& counted) : count(counted) { ++count; }
    ~Waiting() { --count; }
  } waiting(n_acquiring_);
  for (;;) {
    if (is_stopping_ || (request.is_gone && request.is_gone())) throw ApiError(499, "request canceled");
    set_dead_aside();
    const auto found = entries_.find(request.options.model_path);
    if (found != entries_.end() && found->second->model != nullptr &&
        same_load(found->second->options, found->second->model->info(), request.options)) {
      Entry* entry = found->second.get();
      ++entry->n_users;
      if (request.keep_alive_ns) entry->keep_alive_ns = *request.keep_alive_ns;
      return Lease(this, entry);
    }
    if (!is_loading_) {
      if (found != entries_.end() && found->second->n_users == 0) {
        entries_.erase(found);  // the same model with other options
        continue;
      }
      if (found == entries_.end() && make_room()) break;
    }
    changed_.wait_for(lock, std::chrono::milliseconds(100));
  }
  auto owned = std::make_unique<Entry>();
  Entry* entry = owned.get();
  entry->name = request.name;
  entry->digest = request.digest;
  entry->options = request.options;
  entry->options.on_progress = nullptr;
  entry->options.on_memory_need = nullptr;
  entry->keep_alive_ns = request.keep_alive_ns.value_or(limits_.keep_alive_ns);
  entry->n_users = 1;
  entries_[request.options.model_path] = std::move(owned);
  is_loading_ = true;
  // What a dead model holds in this process, or on a device, is free when its users have heard of it. A client that does not
  // read is not waited for.
  changed_.wait_for(lock, kLeaseEnds, [&] {
    return std::none_of(dead_.begin(), dead_.end(), [&](const auto& dead) { return dead->options.model_path == request.options.model_path; });
  });
  lock.unlock();
  std::shared_ptr<ModelHost> model;
  std::exception_ptr failure;
  try {
    engine::EngineOptions options = request.options;
    options.on_progress = [&](float) { return !(request.is_gone && request.is_gone()); };
    options.on_memory_need = [&](uint64_t n_bytes) { make_memory(n_bytes, request); };
    model = open_(options);
  } catch (...) {
    failure = std::current_exception();
  }
  lock.lock();
  is_loading_ = false;
  changed_.notify_all();
  if (failure) {
    entries_.erase(request.options.model_path);
    std::rethrow_exception(failure);
  }
  entry->model = std::move(model);
  return Lease(this, entry);
}

// A model whose process has died makes room for its successor; its last users still have to hear of it.
void EngineHost::set_dead_aside() {
  for (auto it = entries_.begin(); it != entries_.end();) {
    if (!it->second->is_dead()) {
      ++it;
      continue;
    }
    if (it->second->n_users > 0) dead_.push_back(std::move(it->second));
    it = entries_.erase(it);
  }
}

// Whether the request can begin at once.
bool EngineHost::has_place(const Request& request) const {
  const auto found = entries_.find(request.options.model_path);
  if (found == entries_.end()) return false;
  const Entry& entry = *found->second;
  return entry.model != nullptr && same_load(entry.options, entry.model->info(), request.options) &&
         entry.n_users < entry.options.n_parallel;
}

// Those without a model, and those whose model works for as many others as it can.
int EngineHost::n_waiting() const {
  int n = n_acquiring_;
  for (const auto& [path, entry] : entries_)
    if (entry->model != nullptr) n += std::max(0, entry->n_users - entry->options.n_parallel);
  return n;
}

// Unloads the idle model that would go first anyway: of those that stay equally long, the one not used for longest.
// False: all are busy.
bool EngineHost::unload_one() {
  auto victim = entries_.end();
  for (auto it = entries_.begin(); it != entries_.end(); ++it) {
    if (it->second->n_users > 0) continue;
    const auto stay = [](const Entry& e) { return e.is_forever() ? HostClock::time_point::max() : e.expires; };
    if (victim == entries_.end() || stay(*it->second) < stay(*victim->second)) victim = it;
  }
  if (victim == entries_.end()) return false;
  entries_.erase(victim);
  return true;
}

bool EngineHost::make_room() {
  while (static_cast<int>(entries_.size()) >= limits_.n_loaded)
    if (!unload_one()) return false;
  return true;
}

// Of the memory that looks free, what models here have been promised. With the mutex free: one that hangs takes its time for an answer.
uint64_t EngineHost::promised_bytes() {
  std::vector<std::shared_ptr<ModelHost>> models;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [path, entry] : entries_)
      if (entry->model != nullptr) models.push_back(entry->model);
  }
  uint64_t n_bytes = 0;
  for (const auto& model : models) n_bytes += static_cast<uint64_t>(model->stats().n_unread_bytes);
  return n_bytes;
}

// While loading, with the mutex free: unloads models until n_bytes are there, waiting for busy ones to end.
void EngineHost::make_memory(uint64_t n_bytes, const Request& request) {
  for (;;) {
    const uint64_t n_promised = promised_bytes();
    std::unique_lock lock(mutex_);
    const uint64_t n_looks_free = free_memory_(), n_free = n_looks_free - std::min(n_looks_free, n_promised);
    if (n_bytes <= n_free) return;
    if (unload_one()) continue;
    const bool has_busy = std::any_of(entries_.begin(), entries_.end(), [](const auto& e) { return e.second->model != nullptr; });
    if (!has_busy)
      throw engine::EngineError(engine::ErrorCode::kOutOfMemory,
                                fmt::format("model requires more system memory ({:.1f} MiB) than is available ({:.1f} MiB)",
                                            static_cast<double>(n_bytes) / (1 << 20), static_cast<double>(n_free) / (1 << 20)));
    if (is_stopping_ || (request.is_gone && request.is_gone())) throw ApiError(499, "request canceled");
    changed_.wait_for(lock, std::chrono::milliseconds(100));
  }
}

void EngineHost::release(Entry* entry) {
  const std::lock_guard lock(mutex_);
  --entry->n_users;
  const auto is_this = [&](const std::unique_ptr<Entry>& dead) { return dead.get() == entry && entry->n_users == 0; };
  if (std::erase_if(dead_, is_this) > 0) {
    changed_.notify_all();
    return;
  }
  // Far values would overflow the clock; a hundred years are for ever enough.
  constexpr int64_t kCentury = 100ll * 365 * 24 * 3600 * 1'000'000'000;
  entry->expires = HostClock::now() + std::chrono::nanoseconds(std::min(entry->keep_alive_ns, kCentury));
  changed_.notify_all();
}

void EngineHost::unload(const std::string& model_path) {
  std::unique_lock lock(mutex_);
  const auto found = entries_.find(model_path);
  if (found == entries_.end()) return;
  found->second->keep_alive_ns = 0;
  found->second->expires = HostClock::now();
  changed_.notify_all();
  // Whoever asks for the list of loaded models next must not find it there. A model that is truly busy is not waited for.
  changed_.wait_for(lock, kLeaseEnds, [&] { return is_stopping_ || !entries_.contains(model_path); });
}

std::vector<LoadedModel> EngineHost::loaded() const {
  const std::lock_guard lock(mutex_);
  std::vector<LoadedModel> models;
  const auto now = HostClock::now();
  for (const auto& [path, entry] : entries_) {
    if (entry->model == nullptr || entry->is_dead()) continue;
    const auto stay = std::chrono::nanoseconds(std::max<int64_t>(entry->keep_alive_ns, 0));
    models.push_back({entry->name, entry->digest, entry->model->info(),
                      entry->n_users > 0 ? stay : entry->expires - now, entry->is_forever()});
  }
  std::sort(models.begin(), models.end(), [](const LoadedModel& a, const LoadedModel& b) {
    return a.is_forever != b.is_forever ? a.is_forever : a.time_left > b.time_left;
  });
  return models;
}

MetricsSnapshot EngineHost::snapshot() const {
  MetricsSnapshot now;
  std::vector<std::shared_ptr<ModelHost>> models;
  {
    const std::lock_guard lock(mutex_);
    now.n_waiting = static_cast<uint64_t>(n_waiting());
    for (const auto& [path, entry] : entries_) {
      if (entry->model == nullptr || entry->is_dead()) continue;
      const engine::ModelInfo& info = entry->model->info();
      const int n_running = std::min(entry->n_users, entry->options.n_parallel);
      now.n_running += static_cast<uint64_t>(n_running);
      MetricsSnapshot::Model& model = now.models.emplace_back();
      model.name = entry->name;
      model.memory_bytes = info.weight_bytes + info.kv_bytes + info.scratch_bytes;
      model.n_running = static_cast<uint64_t>(n_running);
      model.n_waiting = static_cast<uint64_t>(entry->n_users - n_running);
      models.push_back(entry->model);
    }
  }
  // A model that hangs takes its time for an answer: not with the mutex held.
  for (size_t i = 0; i < models.size(); ++i) {
    const engine::EngineStats stats = models[i]->stats();
    MetricsSnapshot::Model& model = now.models[i];
    model.n_kv_pages_used = static_cast<uint64_t>(stats.n_kv_pages_used);
    model.n_kv_pages = static_cast<uint64_t>(stats.n_kv_pages);
    model.n_kv_pages_cached = static_cast<uint64_t>(stats.n_kv_pages_cached);
    model.n_prefix_hits = static_cast<uint64_t>(stats.n_prefix_hits);
    model.n_prefix_tokens = static_cast<uint64_t>(stats.n_prefix_tokens);
    model.n_prefix_evictions = static_cast<uint64_t>(stats.n_prefix_evictions);
  }
  return now;
}

void EngineHost::expire_until_stopped() {
  std::unique_lock lock(mutex_);
  while (!is_stopping_) {
    const auto now = HostClock::now();
    auto next = now + std::chrono::hours(1);
    bool has_unloaded = false;
    for (auto it = entries_.begin(); it != entries_.end();) {
      const Entry& entry = *it->second;
      const bool is_idle = entry.n_users == 0 && !entry.is_forever();
      if (is_idle && entry.expires <= now) {
        it = entries_.erase(it);
        has_unloaded = true;
        continue;
      }
      if (is_idle) next = std::min(next, entry.expires);
      ++it;
    }
    if (has_unloaded) changed_.notify_all();
    changed_.wait_until(lock, next);
  }
}

}  // namespace olx::server
