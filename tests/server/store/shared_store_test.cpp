// One models folder under five processes that pull, make, copy, remove and collect at once, as
// servers and commands do.

#include <sys/wait.h>
#include <unistd.h>

#include <random>

#include "tests/server/store/store_operations.h"

using namespace olx::server;
using namespace olx::server::testing;

namespace {

constexpr int kProcesses = 5;
constexpr int kSteps = 30;

// What may go wrong while others work: a model they removed, a registry's download they hold.
// Anything else is a fault.
bool is_expected(const std::exception& error) {
  const std::string_view text = error.what();
  return text.find("not found") != std::string_view::npos ||
         text.find("is missing") != std::string_view::npos;
}

int work(Stage& stage, int process) {
  ModelStore store(stage.folder());
  std::mt19937 random(static_cast<uint32_t>(process));
  int n_failed = 0;
  const std::string own = "own" + std::to_string(process);
  for (int i = 0; i < kSteps; ++i) {
    try {
      switch (random() % 8) {
        case 0:
          stage.pull(store, "library/pulled");
          break;
        case 1:
          stage.pull(store, "library/stale");
          break;
        case 2: {
          CreateRequest request{.name = name(own), .from = name("kept")};
          request.system = std::to_string(i);
          create(store, request);
          if (store.contents(name(own)).system != request.system) ++n_failed;
          break;
        }
        case 3:
          store.remove(name(own));
          break;
        case 4:
          store.remove(name(stage.registry().host() + "/library/pulled"));
          break;
        case 5:
          store.copy(name("kept"), name("copy"));
          break;
        case 6:
          Stage::start(store);
          break;
        case 7:
          n_failed += fsck(stage.folder(), {.hashes = true}).n_wrong() > 0;
          break;
      }
      // Whatever the others do, this one is whole.
      if (!has_gguf_magic(store.contents(name("kept")).gguf_path)) ++n_failed;
    } catch (const std::exception& error) {
      if (is_expected(error)) continue;
      std::fprintf(stderr, "process %d, step %d: %s\n", process, i, error.what());
      ++n_failed;
    }
  }
  return n_failed;
}

}  // namespace

TEST_CASE("Store_FiveProcessesPullMakeAndRemoveInOneFolder", "[T-76]") {
  Stage stage;
  stage.reset();
  std::vector<pid_t> children;
  for (int process = 0; process < kProcesses; ++process) {
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) ::_exit(work(stage, process) == 0 ? 0 : 1);
    children.push_back(child);
  }
  for (const pid_t child : children) {
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK(status == 0);
  }
  CHECK(text_of(fsck(stage.folder(), {.hashes = true})) == "");
  ModelStore store(stage.folder());
  Stage::start(store);
  CHECK(text_of(fsck(stage.folder(), {.hashes = true})) == "");
  // Pulled whole afterwards, whatever was left behind.
  stage.pull(store, "library/pulled");
  const Listing models = listing(store);
  for (const char* model : {"kept:latest", "sharing:latest", "victim:latest"})
    CHECK(models.contains(model));
  CHECK(models.contains(stage.registry().host() + "/library/pulled:latest"));
}
