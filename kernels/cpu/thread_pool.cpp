#include "kernels/cpu/thread_pool.h"

#include <chrono>
#include <string>
#include <system_error>

#include "gguf/check.h"
#include "kernels/api/backend.h"
#include "kernels/cpu/spin.h"

namespace olx::kernels::cpu {
namespace {

// group_ taken apart. A claim is a compare-and-swap of the whole word, so it succeeds only on the group that is current
// now: whatever a member remembers of an older group is worthless to it, and nothing needs to be kept alive for it.
// (Should the number come round to the same value while a member is away, its claim is still one of the current group.)
struct Group {
  uint32_t number;
  uint16_t n_chunks;   // 0: no work
  uint16_t n_claimed;
};
constexpr uint16_t kStopping = 1;  // n_claimed of a group without chunks: the members leave

uint64_t pack(Group group) {
  return static_cast<uint64_t>(group.number) << 32 | static_cast<uint64_t>(group.n_chunks) << 16 | group.n_claimed;
}
Group unpack(uint64_t word) {
  return {static_cast<uint32_t>(word >> 32), static_cast<uint16_t>(word >> 16), static_cast<uint16_t>(word)};
}

// Three ways to wait, from the shortest reaction to the least cost to others: spinning bridges the microseconds between
// two groups; yielding lets the peer that everybody waits for onto this CPU when the machine is busy; and a member that
// waits longer (between tokens) sleeps in the kernel, so that an idle engine uses no CPU. A yield that gave the CPU away
// takes milliseconds, so on a busy machine few are made: who sleeps is favoured by the scheduler when it is woken.
constexpr int kSpins = 2'000;
constexpr std::chrono::microseconds kYieldTime{500};

void wait_while_equal(std::atomic<uint64_t>& word, uint64_t old) {
  for (int i = 0; i < kSpins; ++i) {
    if (word.load(std::memory_order_acquire) != old) return;
    spin_pause();
  }
  const auto end = std::chrono::steady_clock::now() + kYieldTime;
  do {
    if (word.load(std::memory_order_acquire) != old) return;
    std::this_thread::yield();
  } while (std::chrono::steady_clock::now() < end);
  word.wait(old, std::memory_order_acquire);
}

}  // namespace

ThreadPool::ThreadPool(int n_threads) : n_threads_(n_threads) {
  OLX_CHECK(n_threads >= 1);
  try {
    for (int member = 1; member < n_threads_; ++member) threads_.emplace_back([this, member] { take_part(member); });
  } catch (const std::system_error& error) {
    stop();  // those that are there would be waited for without end
    throw DeviceError("cpu: cannot start thread " + std::to_string(threads_.size() + 2) + " of " + std::to_string(n_threads_) + ": " +
                      error.code().message() + "; use fewer (num_thread)");
  }
}

ThreadPool::~ThreadPool() { stop(); }

void ThreadPool::stop() {
  const Group group = unpack(group_.load(std::memory_order_relaxed));
  OLX_CHECK(group.n_chunks == 0);
  group_.store(pack({group.number + 1, 0, kStopping}));
  group_.notify_all();
}

void ThreadPool::run(const Work& work) {
  OLX_CHECK(unpack(group_.load(std::memory_order_relaxed)).n_chunks == 0);
  work_ = work;
  open_next_group();
  take_part(0);
}

// Called by the one who knows that no chunk is being done: the caller of run(), or who has done the last one.
void ThreadPool::open_next_group() {
  const int n_chunks = work_.next_group(work_.context);
  OLX_CHECK(n_chunks >= 0 && n_chunks <= kMaxChunks);
  const uint32_t number = unpack(group_.load(std::memory_order_relaxed)).number + 1;
  n_done_.store(0, std::memory_order_relaxed);
  // Sequentially consistent, as the look of notify_all() for sleepers must not come before the store.
  group_.store(pack({number, static_cast<uint16_t>(n_chunks), 0}));
  // For a single chunk nobody is woken: it is done by who opened it, or by one who waits without sleeping.
  if (n_chunks != 1) group_.notify_all();  // costs a load when nobody sleeps
}

// Member 0 leaves when there is no work, the others when the pool is destroyed.
void ThreadPool::take_part(int member) {
  uint64_t word = group_.load(std::memory_order_acquire);
  while (true) {
    const Group group = unpack(word);
    if (group.n_claimed < group.n_chunks) {
      const uint64_t claimed = pack({group.number, group.n_chunks, static_cast<uint16_t>(group.n_claimed + 1)});
      if (!group_.compare_exchange_weak(word, claimed, std::memory_order_acq_rel, std::memory_order_acquire)) continue;
      // This chunk is not done, so the run cannot end and work_ and what it points to stay as they are.
      work_.run_chunk(work_.context, group.n_claimed);
      if (n_done_.fetch_add(1, std::memory_order_acq_rel) + 1 == group.n_chunks) open_next_group();
    } else {
      if (group.n_chunks == 0 && (member == 0 || group.n_claimed == kStopping)) return;
      wait_while_equal(group_, word);
    }
    word = group_.load(std::memory_order_acquire);
  }
}

}  // namespace olx::kernels::cpu
