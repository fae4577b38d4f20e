// The team under more threads than this machine has processors: nothing is lost, done twice or done too early.

#include "kernels/cpu/thread_pool.h"

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <optional>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "kernels/api/backend.h"
#include "tests/support/catch.h"
#include "tests/support/sanitizers.h"

namespace {

using olx::kernels::cpu::ThreadPool;

// Groups of changing size. Every chunk adds what the group before left, so that a chunk which runs before its group is
// open, twice or never, changes the sum. `value` is no atomic: the pool alone orders its accesses.
struct Chain {
  int n_groups = 0;
  int group = -1;
  std::vector<uint64_t> parts;  // of the current group
  uint64_t value = 1;

  static int size(int group) { return 1 + group * 7 % 13; }
  static uint64_t part(uint64_t value, int chunk) { return value * 6364136223846793005u + static_cast<uint64_t>(chunk); }
  void end_group() {
    if (group < 0) return;
    for (int chunk = 0; chunk < size(group); ++chunk) value += parts[static_cast<size_t>(chunk)];
  }
  ThreadPool::Work work() {
    parts.resize(13);
    return {.next_group = [](void* context) {
              Chain& chain = *static_cast<Chain*>(context);
              chain.end_group();
              if (++chain.group == chain.n_groups) return 0;
              return size(chain.group);
            },
            .run_chunk = [](void* context, int chunk) {
              Chain& chain = *static_cast<Chain*>(context);
              chain.parts[static_cast<size_t>(chunk)] = part(chain.value, chunk);
            },
            .context = this};
  }
};

uint64_t serial_chain(int n_groups) {
  uint64_t value = 1;
  for (int group = 0; group < n_groups; ++group) {
    uint64_t sum = value;
    for (int chunk = 0; chunk < Chain::size(group); ++chunk) sum += Chain::part(value, chunk);
    value = sum;
  }
  return value;
}

double cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) { return double(time.tv_sec) + 1e-6 * double(time.tv_usec); };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

TEST_CASE("ThreadPool_GroupsRunInOrderAndEveryChunkOnce") {
  constexpr int kGroups = 3000;
  const uint64_t expected = serial_chain(kGroups);
  for (int n_threads = 1; n_threads <= 8; ++n_threads) {
    CAPTURE(n_threads);
    ThreadPool pool(n_threads);
    CHECK(pool.n_threads() == n_threads);
    for (int round = 0; round < 2; ++round) {
      Chain chain{.n_groups = kGroups};
      pool.run(chain.work());
      CHECK(chain.value == expected);
    }
  }
}

// Runs that end before members have woken: what those remember of the run is then a dead stack frame.
TEST_CASE("ThreadPool_LateMembersTouchNothingOfAnEarlierRun") {
  ThreadPool pool(6);
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(2);
  int n_runs = 0;
  for (; std::chrono::steady_clock::now() < end; ++n_runs) {
    const int n_groups = n_runs % 5;
    auto chain = std::make_unique<Chain>(Chain{.n_groups = n_groups});
    pool.run(chain->work());
    REQUIRE(chain->value == serial_chain(n_groups));
    // Now and then the members are given the time to fall asleep.
    if (n_runs % 512 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  CHECK(n_runs > 0);
}

TEST_CASE("ThreadPool_IsDestroyedIdleAsleepAndRightAfterARun") {
  for (int i = 0; i < 100; ++i) {
    std::optional<ThreadPool> pool(std::in_place, 1 + i % 8);
    if (i % 3 != 0) {
      Chain chain{.n_groups = 3};
      pool->run(chain.work());
    }
    if (i % 10 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
}

TEST_CASE("ThreadPool_AMemberThatIsHeldInAChunkLeavesTheRestToOthers") {
  struct Held {
    std::atomic<int> n_done = 0;
    bool is_begun = false;
  } held;
  ThreadPool pool(3);
  pool.run({.next_group = [](void* context) {
              Held& held = *static_cast<Held*>(context);
              return std::exchange(held.is_begun, true) ? 0 : 64;
            },
            .run_chunk = [](void* context, int chunk) {
              Held& held = *static_cast<Held*>(context);
              while (chunk == 0 && held.n_done.load() < 63) std::this_thread::yield();
              ++held.n_done;
            },
            .context = &held});
  CHECK(held.n_done == 64);
}

TEST_CASE("ThreadPool_IdleMembersUseNoCpu") {
  ThreadPool pool(4);
  Chain chain{.n_groups = 10};
  pool.run(chain.work());
  std::this_thread::sleep_for(std::chrono::milliseconds(100));  // until they sleep, on a busy machine too
  const double before = cpu_seconds();
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  CHECK(cpu_seconds() - before < 0.03);
}

}  // namespace

TEST_CASE("ThreadPool_ThreadsThatCannotBeHadAreAnErrorAndNotAHang") {
  if (olx::tests::kHasSanitizers) return;  // their shadow is larger than any limit
  const pid_t child = ::fork();  // the limit is for it alone
  REQUIRE(child >= 0);
  if (child == 0) {
    ::alarm(30);
    const rlimit limit{256 << 20, 256 << 20};  // room for some stacks
    ::setrlimit(RLIMIT_AS, &limit);
    rlimit kept{};
    ::getrlimit(RLIMIT_AS, &kept);
    if (kept.rlim_cur != limit.rlim_cur) ::_exit(77);
    try {
      ThreadPool pool(1000);
    } catch (const olx::kernels::DeviceError& error) {
      ::_exit(std::string_view(error.what()).find(" of 1000: ") != std::string_view::npos ? 0 : 2);
    }
    ::_exit(1);
  }
  int status = -1;
  ::waitpid(child, &status, 0);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
    std::printf("SKIPPED: this machine keeps no limit of memory, as qemu-user\n");
    return;
  }
  CHECK(status == 0);
}
