#include "server/models/engine_host.h"

#include <algorithm>
#include <atomic>
#include <optional>
#include <thread>

#include "engine/error.h"
#include "server/http/api_error.h"
#include "tests/server/api/server_fixture.h"
#include "tests/support/catch.h"

using namespace olx;
using namespace olx::server;
using namespace olx::tests;

namespace {

constexpr int64_t kMinuteNs = 60'000'000'000;

struct Models {
  TempDir dir;
  std::string write(const std::string& name) {
    TinyModel tiny;
    tiny.more_metadata = write_ascii_vocabulary;
    const std::string path = dir.file(name + ".gguf");
    write_tiny_model("llama", tiny, path);
    return path;
  }
  EngineHost::Request request(const std::string& name, const std::string& path) {
    EngineHost::Request request;
    request.name = name;
    request.options.model_path = path;
    request.options.n_ctx = 64;
    request.options.n_threads = 1;
    return request;
  }
};

std::vector<std::string> names(const EngineHost& host) {
  std::vector<std::string> out;
  for (const LoadedModel& model : host.loaded()) out.push_back(model.name);
  std::sort(out.begin(), out.end());
  return out;
}

}  // namespace

TEST_CASE("EngineHost_LoadsWhatFitsExactlyAndRefusesOneByteMore", "[T-89]") {
  Models models;
  const EngineHost::Request request = models.request("a", models.write("a"));
  uint64_t n_needed = 0;
  engine::EngineOptions options = request.options;
  options.on_memory_need = [&](uint64_t n_bytes) { n_needed = n_bytes; };
  const auto engine = engine::Engine::open(options);
  const engine::ModelInfo& info = engine->info();
  CHECK(n_needed >= info.weight_bytes + info.kv_bytes + info.scratch_bytes);  // never told less than it takes

  EngineHost enough({3, 512, kMinuteNs}, [&] { return n_needed; });
  CHECK_NOTHROW(enough.acquire(request));
  EngineHost short_of_one({3, 512, kMinuteNs}, [&] { return n_needed - 1; });
  try {
    short_of_one.acquire(request);
    FAIL("it was loaded");
  } catch (const engine::EngineError& error) {
    CHECK(error.code() == engine::ErrorCode::kOutOfMemory);
    CHECK(std::string(error.what()).starts_with("model requires more system memory ("));
    CHECK(std::string(error.what()).find(") than is available (") != std::string::npos);
  }
  CHECK(short_of_one.loaded().empty());
  CHECK_THROWS_AS(short_of_one.acquire(request), engine::EngineError);  // it goes on to answer
}

TEST_CASE("EngineHost_UnloadsTheIdleModelNotUsedForLongest") {
  Models models;
  const auto a = models.request("a", models.write("a")), b = models.request("b", models.write("b")),
             c = models.request("c", models.write("c"));
  // Memory is short the next n times it is asked for.
  std::atomic<int> n_short{0};
  EngineHost host({10, 512, kMinuteNs}, [&]() -> uint64_t { return n_short > 0 && n_short-- > 0 ? 0 : UINT64_MAX; });
  host.acquire(a);
  host.acquire(b);
  host.acquire(a);  // used again: b is the oldest now
  n_short = 1;
  host.acquire(c);
  CHECK(names(host) == std::vector<std::string>{"a", "c"});
  n_short = 2;
  host.acquire(b);
  CHECK(names(host) == std::vector<std::string>{"b"});
}

TEST_CASE("EngineHost_WaitsForBusyModelsWhenMemoryIsShort") {
  Models models;
  const auto a = models.request("a", models.write("a")), b = models.request("b", models.write("b"));
  std::atomic<bool> is_short{false};
  EngineHost host({10, 512, kMinuteNs}, [&]() -> uint64_t { return is_short ? 0 : UINT64_MAX; });
  std::optional<EngineHost::Lease> busy(host.acquire(a));
  is_short = true;
  std::atomic<bool> has_asked{false};
  auto impatient = b;
  impatient.is_gone = [&] { return has_asked.exchange(true); };
  try {
    host.acquire(impatient);
    FAIL("it was loaded");
  } catch (const ApiError& error) {
    CHECK(error.status() == 499);
  }
  CHECK(names(host) == std::vector<std::string>{"a"});  // a busy model is never taken away
  busy.reset();
  is_short = false;
  CHECK_NOTHROW(host.acquire(b));
}

TEST_CASE("EngineHost_RefusesTheWaitingAboveTheLimit") {
  Models models;
  const auto a = models.request("a", models.write("a")), b = models.request("b", models.write("b"));
  EngineHost host({1, 1, kMinuteNs}, [] { return UINT64_MAX; });
  const EngineHost::Lease running = host.acquire(a);
  const EngineHost::Lease waiting = host.acquire(a);  // one sequence, two users: the second waits in the engine
  CHECK(host.snapshot().n_running == 1);
  CHECK(host.snapshot().n_waiting == 1);
  for (const EngineHost::Request* more : {&a, &b}) {
    try {
      host.acquire(*more);
      FAIL("it was admitted");
    } catch (const ApiError& error) {
      CHECK(error.status() == 503);
    }
  }
}

TEST_CASE("EngineHost_AnUnloadedModelIsNotListedAnyMore") {
  Models models;
  const auto a = models.request("a", models.write("a"));
  EngineHost host({1, 1, kMinuteNs}, [] { return UINT64_MAX; });
  for (int i = 0; i < 20; ++i) {
    host.acquire(a);
    host.unload(a.options.model_path);
    CHECK(host.loaded().empty());
  }
  std::optional<EngineHost::Lease> busy(host.acquire(a));
  std::thread ends_soon([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    busy.reset();
  });
  host.unload(a.options.model_path);
  CHECK(host.loaded().empty());
  ends_soon.join();
  const EngineHost::Lease stays = host.acquire(a);
  host.unload(a.options.model_path);  // comes back although the model goes on working
  CHECK(names(host) == std::vector<std::string>{"a"});
}

TEST_CASE("EngineHost_ContextsLongerThanTheModelsAreTheSame") {
  Models models;
  auto request = models.request("a", models.write("a"));  // trained for 512 tokens
  int n_opened = 0;
  EngineHost host(
      {1, 1, kMinuteNs}, [] { return UINT64_MAX; },
      [&](const engine::EngineOptions& options) {
        ++n_opened;
        return open_in_process(options);
      });
  for (const int n_ctx : {512, 1024, 100'000, 512}) {
    request.options.n_ctx = n_ctx;
    host.acquire(request);
  }
  CHECK(n_opened == 1);
  CHECK(host.loaded()[0].info.n_ctx == 512);
  request.options.n_ctx = 511;
  host.acquire(request);
  CHECK(n_opened == 2);
}
