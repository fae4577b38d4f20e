#include "kernels/cpu/thread_pool.h"

#include "gguf/check.h"
#include "kernels/cpu/spin.h"

namespace olx::kernels::cpu {
namespace {

// Spinning bridges the microseconds between two nodes of a plan; a member that waits longer (between tokens, or when
// its peers have lost their CPU) sleeps in the kernel, so that an oversubscribed machine is not held up by waiting.
constexpr int kSpinsBeforeSleep = 20'000;

// Waits until the value is no longer `old`.
void wait_while_equal(std::atomic<uint32_t>& value, uint32_t old) {
  for (int i = 0; i < kSpinsBeforeSleep; ++i) {
    if (value.load(std::memory_order_acquire) != old) return;
    spin_pause();
  }
  while (value.load(std::memory_order_acquire) == old) value.wait(old, std::memory_order_acquire);
}

}  // namespace

ThreadPool::ThreadPool(int n_threads) : n_threads_(n_threads) {
  OLX_CHECK(n_threads >= 1);
  for (int member = 1; member < n_threads_; ++member) threads_.emplace_back([this, member] { work(member); });
}

ThreadPool::~ThreadPool() {
  is_stopping_ = true;
  generation_.fetch_add(1, std::memory_order_release);
  generation_.notify_all();
}

void ThreadPool::run(void (*fn)(void*, int), void* context) {
  fn_ = fn;
  context_ = context;
  n_running_.store(n_threads_ - 1, std::memory_order_relaxed);
  generation_.fetch_add(1, std::memory_order_release);
  generation_.notify_all();
  fn(context, 0);
  for (int i = 0; n_running_.load(std::memory_order_acquire) != 0; ++i) {
    if (i < kSpinsBeforeSleep) spin_pause();
    else std::this_thread::yield();
  }
}

void ThreadPool::work(int member) {
  uint32_t seen = 0;
  while (true) {
    wait_while_equal(generation_, seen);
    seen = generation_.load(std::memory_order_acquire);
    if (is_stopping_) return;
    fn_(context_, member);
    n_running_.fetch_sub(1, std::memory_order_release);
  }
}

void ThreadPool::barrier() {
  if (n_threads_ == 1) return;
  const uint32_t phase = barrier_phase_.load(std::memory_order_relaxed);
  if (n_arrived_.fetch_add(1, std::memory_order_acq_rel) == n_threads_ - 1) {
    n_arrived_.store(0, std::memory_order_relaxed);
    barrier_phase_.store(phase + 1, std::memory_order_release);
    barrier_phase_.notify_all();  // costs a load when nobody sleeps
  } else {
    wait_while_equal(barrier_phase_, phase);
  }
}

}  // namespace olx::kernels::cpu
