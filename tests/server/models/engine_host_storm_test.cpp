// Loads, unloads, expiries, deaths, failures and clients that leave, all at once and at random. What is loaded is a scripted
// model, so that hundreds of thousands of these take seconds; the host cannot tell.

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdlib>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "engine/error.h"
#include "server/http/api_error.h"
#include "server/models/engine_host.h"
#include "tests/support/catch.h"
#include "tests/support/sanitizers.h"

namespace olx::server {
namespace {

constexpr int kThreads = 8, kModels = 5, kLoaded = 3;
const int kEvents = (tests::kHasSanitizers ? 1 : 10) * 5'000;  // of a thread

// What must hold at every moment; the first that does not is kept. Catch's own checks are for one thread.
struct Oracle {
  std::mutex mutex;
  std::string broken;
  std::array<int, kModels> n_of_path{};  // models that are not dead
  int n_alive = 0, n_open = 0;
  bool is_snapshot = false;  // which holds the models it asks a moment longer
  int64_t n_opened = 0, n_died = 0;

  void check(bool holds, const std::string& what) {
    if (!holds && broken.empty()) broken = what;
  }
};

class ScriptedModel final : public ModelHost {
 public:
  ScriptedModel(Oracle& oracle, const engine::EngineOptions& options) : oracle_(oracle), options_(options) {
    const std::lock_guard lock(oracle_.mutex);
    ++oracle_.n_opened;
    ++oracle_.n_open;
    oracle_.check(++oracle_.n_of_path[path()] == 1 || oracle_.is_snapshot, "one model twice");
    oracle_.check(++oracle_.n_alive <= kLoaded || oracle_.is_snapshot, "more models than may be loaded");
  }
  ~ScriptedModel() override {
    const std::lock_guard lock(oracle_.mutex);
    oracle_.check(n_users_ == 0, "a model ended while it was used");
    --oracle_.n_open;
    if (is_alive_) forget();
  }
  void begin_use(int n_ctx) {
    const std::lock_guard lock(oracle_.mutex);
    oracle_.check(options_.n_ctx == n_ctx, "a model with the options of another request");
    ++n_users_;
  }
  void end_use() {
    const std::lock_guard lock(oracle_.mutex);
    --n_users_;
  }
  void die() {
    const std::lock_guard lock(oracle_.mutex);
    if (!is_alive_) return;
    forget();
    is_alive_ = false;
    ++oracle_.n_died;
  }

  std::atomic<int64_t> n_unread_bytes{0};

  const engine::ModelInfo& info() const override { return info_; }
  engine::EngineStats stats() override { return {.n_unread_bytes = n_unread_bytes}; }
  bool is_alive() const override { return is_alive_; }
  // Nobody here generates anything.
  engine::AnswerFormat answer_format(std::string_view) const override { std::abort(); }
  engine::ChatPrompt render_chat(const engine::ChatRequest&) override { std::abort(); }
  std::vector<int32_t> tokenize(const engine::ChatPrompt&, bool) override { std::abort(); }
  std::vector<int32_t> tokenize(std::string_view, bool, bool) override { std::abort(); }
  engine::TokenStream submit(engine::GenerateRequest) override { std::abort(); }
  std::vector<std::vector<float>> embed(engine::EmbedRequest, const std::function<bool()>&) override { std::abort(); }

 private:
  size_t path() const { return static_cast<size_t>(options_.model_path[0] - 'a'); }
  void forget() {
    --oracle_.n_of_path[path()];
    --oracle_.n_alive;
  }

  Oracle& oracle_;
  const engine::EngineOptions options_;
  const engine::ModelInfo info_;
  std::atomic<bool> is_alive_{true};
  int n_users_ = 0;
};

struct Storm {
  Oracle oracle;
  std::atomic<uint64_t> free_bytes{1 << 20};
  std::atomic<int64_t> n_leases{0}, n_refused{0};
  EngineHost host{{kLoaded, 512, 0}, [this] { return free_bytes.load(); }, [this](const engine::EngineOptions& options) { return open(options); }};

  std::unique_ptr<ModelHost> open(const engine::EngineOptions& options) {
    thread_local std::minstd_rand dice(std::random_device{}());
    options.on_memory_need(dice() % 3 == 0 ? 1 << 10 : 1 << 19);
    if (!options.on_progress(0.5f)) throw engine::EngineError(engine::ErrorCode::kCancelled, "cancelled");
    if (dice() % 50 == 0) throw engine::EngineError(engine::ErrorCode::kInvalidRequest, "a file that is no model");
    return std::make_unique<ScriptedModel>(oracle, options);
  }

  void take_snapshot() {
    const auto set = [&](bool is_on) {
      const std::lock_guard lock(oracle.mutex);
      oracle.is_snapshot = is_on;
    };
    set(true);
    host.snapshot();
    set(false);
  }

  void use(std::minstd_rand& dice, const EngineHost::Request& request) {
    try {
      const EngineHost::Lease lease = host.acquire(request);
      ++n_leases;
      auto& model = static_cast<ScriptedModel&>(lease.model());
      model.begin_use(request.options.n_ctx);
      if (dice() % 8 == 0) std::this_thread::sleep_for(std::chrono::microseconds(dice() % 200));
      if (dice() % 100 == 0) model.die();
      model.end_use();
    } catch (const ApiError&) {
      ++n_refused;  // the client left
    } catch (const engine::EngineError&) {
      ++n_refused;
    }
  }

  void run(unsigned seed, bool takes_snapshots) {
    std::minstd_rand dice(seed);
    for (int i = 0; i < kEvents; ++i) {
      const std::string path(1, static_cast<char>('a' + dice() % kModels));
      switch (dice() % 16) {
        case 0: host.unload(path); break;
        case 1: host.loaded(); break;
        case 2:
          if (takes_snapshots) take_snapshot();
          break;
        case 3: free_bytes = dice() % 4 == 0 ? 1 << 15 : 1 << 20; break;
        default: {
          EngineHost::Request request;
          request.name = request.options.model_path = path;
          request.options.n_ctx = dice() % 10 == 0 ? 128 : 64;
          const int64_t keep_alive_ns[] = {-1, 0, 1, 1'000'000, 60'000'000'000};
          if (dice() % 2 == 0) request.keep_alive_ns = keep_alive_ns[dice() % 5];
          const auto patience = static_cast<int>(dice() % 64);
          request.is_gone = [n = 0, patience]() mutable { return ++n > patience; };
          use(dice, request);
        }
      }
    }
  }
};

}  // namespace

TEST_CASE("EngineHost_KeepsItsLimitsInAStorm", "[T-97]") {
  const char* wanted = std::getenv("OLLAMAX_TEST_SEED");
  const unsigned seed = wanted != nullptr ? static_cast<unsigned>(std::strtoul(wanted, nullptr, 10)) : std::random_device{}();
  CAPTURE(seed);
  const auto storm = std::make_unique<Storm>();
  Oracle& oracle = storm->oracle;
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < kThreads; ++i) threads.emplace_back([&, i] { storm->run(seed + i, i == 0); });
  for (std::thread& thread : threads) thread.join();
  CHECK(storm->n_leases > kThreads * kEvents / 4);
  CHECK(storm->n_refused > 0);
  CHECK(oracle.n_died > 0);
  CHECK(oracle.n_opened > oracle.n_died);
  CHECK(storm->host.loaded().size() <= kLoaded);
  for (char path = 'a'; path < 'a' + kModels; ++path) storm->host.unload(std::string(1, path));
  CHECK(storm->host.loaded().empty());
  const std::lock_guard lock(oracle.mutex);
  CHECK(oracle.n_open == 0);
  CHECK(oracle.broken == "");
}

TEST_CASE("EngineHost_CountsWhatModelsHaveBeenPromised", "[T-89]") {
  Oracle oracle;
  int64_t n_unread = 500;
  EngineHost host{{3, 512, 60'000'000'000}, [] { return uint64_t{1000}; }, [&](const engine::EngineOptions& options) {
                    options.on_memory_need(500);
                    auto model = std::make_unique<ScriptedModel>(oracle, options);
                    model->n_unread_bytes = n_unread;
                    return model;
                  }};
  const auto names_with = [&](const std::string& path) {
    EngineHost::Request request;
    request.name = request.options.model_path = path;
    host.acquire(request);
    std::string names;
    for (const LoadedModel& model : host.loaded()) names += model.name;
    std::sort(names.begin(), names.end());
    return names;
  };
  CHECK(names_with("a") == "a");
  CHECK(names_with("b") == "ab");  // 500 of 1000 look free to it
  n_unread = 501;
  CHECK(names_with("c") == "bc");  // nothing does
  CHECK(names_with("d") == "d");   // 499 do when b has gone
  CHECK(oracle.broken.empty());
}

}  // namespace olx::server
