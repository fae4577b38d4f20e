#pragma once
// EngineHost: which models are loaded, how long they stay, and which goes when another must come. One per server.
// Any thread may call it. What a model's layers mean is not known here: model_reader.h makes the EngineOptions.

#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "server/models/free_memory.h"
#include "server/models/model_host.h"
#include "server/ops/metrics.h"

namespace olx::server {

using HostClock = std::chrono::steady_clock;

struct LoadedModel {
  std::string name;        // the name that loaded it
  std::string digest;      // of that name's manifest, hex
  engine::ModelInfo info;
  HostClock::duration time_left;
  bool is_forever = false;
};

class EngineHost {
  struct Entry;

 public:
  struct Request {
    std::string name, digest;
    engine::EngineOptions options;              // model_path is the identity
    std::optional<int64_t> keep_alive_ns;       // < 0: for ever; 0: unload when idle
    std::function<bool()> is_gone;              // the client has left: stop waiting
  };

  // A use of a loaded model, which stays while it lives.
  class Lease {
   public:
    Lease(Lease&& other) noexcept : host_(other.host_), entry_(std::exchange(other.entry_, nullptr)) {}
    ~Lease();
    ModelHost& model() const;

   private:
    friend class EngineHost;
    Lease(EngineHost* host, Entry* entry) : host_(host), entry_(entry) {}
    EngineHost* host_;
    Entry* entry_;
  };

  struct Limits {
    int n_loaded = 3;            // models in memory
    int n_waiting = 512;         // requests that wait for a model or for a free sequence of one
    int64_t keep_alive_ns = 0;   // of a request that says nothing
  };
  // free_memory: bytes a model may take now; system_free_memory() but for tests.
  explicit EngineHost(Limits limits, std::function<uint64_t()> free_memory = system_free_memory, OpenModel open = open_in_process);
  ~EngineHost();  // waits for every lease

  // Loads the model unless it is loaded with these options and alive; waits for room. Throws what open throws, ApiError 503
  // when too many wait already, and ApiError 499 when is_gone() says so meanwhile.
  Lease acquire(const Request& request);
  // Goes as soon as it is idle: at once, or when the last lease ends (waited for only briefly). Nothing when it is not loaded.
  void unload(const std::string& model_path);
  std::vector<LoadedModel> loaded() const;  // the one that stays longest first
  MetricsSnapshot snapshot() const;         // all but the version

 private:
  void release(Entry* entry);
  void expire_until_stopped();
  void set_dead_aside();
  bool make_room();
  bool unload_one();
  uint64_t promised_bytes();
  void make_memory(uint64_t n_bytes, const Request& request);

  // Both with the mutex held.
  int n_waiting() const;
  bool has_place(const Request& request) const;

  const Limits limits_;
  const std::function<uint64_t()> free_memory_;
  const OpenModel open_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::string, std::unique_ptr<Entry>> entries_;  // by model_path
  std::vector<std::unique_ptr<Entry>> dead_;  // models whose process has died, until the last request that used them is over
  int n_acquiring_ = 0;  // inside acquire(), without a lease yet
  bool is_loading_ = false, is_stopping_ = false;
  std::jthread timer_;
};

}  // namespace olx::server
