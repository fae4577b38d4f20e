#pragma once
// ThreadPool: a fixed team that works off groups of chunks. Whoever is running claims the next chunk; a group is over
// when its chunks are done, not when every member has come by, so a member that has lost its CPU holds nobody up unless
// it lost it inside a chunk. The caller is member 0. One run() at a time. Used by the CPU device.

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

namespace olx::kernels::cpu {

class ThreadPool {
 public:
  static constexpr int kMaxChunks = 65'535;  // of a group

  struct Work {
    // Makes the next group current and returns its number of chunks; 0 ends the run. Called by one member at a time,
    // after every chunk of the group before is done and visible to it.
    int (*next_group)(void* context) = nullptr;
    // Does chunk `chunk` of the current group. Any member, in any order, at the same time as the group's others.
    void (*run_chunk)(void* context, int chunk) = nullptr;
    void* context = nullptr;
  };

  explicit ThreadPool(int n_threads);  // DeviceError when the system gives fewer
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int n_threads() const { return n_threads_; }
  // Returns when next_group has returned 0. No allocation and no lock; sleeping members are woken once. Nothing of
  // `work` is touched afterwards: members that come late find no chunk to claim.
  void run(const Work& work);

 private:
  void stop();
  void take_part(int member);
  void open_next_group();

  const int n_threads_;
  Work work_;  // read only by who holds a chunk, and written only while no chunk is open
  // The current group as one word: its number in the life of the pool, how many chunks it has, how many are claimed.
  alignas(64) std::atomic<uint64_t> group_{0};
  alignas(64) std::atomic<int> n_done_{0};  // chunks of the current group
  alignas(64) std::vector<std::jthread> threads_;
};

}  // namespace olx::kernels::cpu
