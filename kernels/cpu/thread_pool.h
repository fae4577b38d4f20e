#pragma once
// ThreadPool: a fixed team that runs one function together, with a barrier its members may use in between.
// The caller is member 0. One run() at a time. Used by the CPU device.

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

namespace olx::kernels::cpu {

class ThreadPool {
 public:
  explicit ThreadPool(int n_threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int n_threads() const { return n_threads_; }
  // Calls fn(context, member) on every member and returns when all have returned. No allocation.
  void run(void (*fn)(void* context, int member), void* context);
  // For use inside run(), by every member: nobody passes before all have arrived.
  void barrier();

 private:
  void work(int member);

  const int n_threads_;
  void (*fn_)(void*, int) = nullptr;
  void* context_ = nullptr;
  alignas(64) std::atomic<uint32_t> generation_{0};  // counts run()s; a member sleeps until it moves
  alignas(64) std::atomic<int> n_running_{0};
  alignas(64) std::atomic<int> n_arrived_{0};
  alignas(64) std::atomic<uint32_t> barrier_phase_{0};
  bool is_stopping_ = false;  // written before generation_ moves
  std::vector<std::jthread> threads_;
};

}  // namespace olx::kernels::cpu
