#pragma once
// CallPool: threads for a worker's requests that take a while (templates, tokenizing, grammars,
// embeddings), so that the thread that reads the socket never waits. Threads come when all others
// are busy and stay.

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

namespace olx::server {

class CallPool {
 public:
  static constexpr int kMaxThreads =
      64;  // more calls than this wait; embeddings take turns in the engine anyway

  // Never ends: the process does.
  void run(std::function<void()> call) {
    {
      const std::lock_guard lock(mutex_);
      calls_.push_back(std::move(call));
      if (n_idle_ < static_cast<int>(calls_.size()) && n_threads_ < kMaxThreads) {
        ++n_threads_;
        std::thread([this] { work(); }).detach();
      }
    }
    has_call_.notify_one();
  }

 private:
  void work() {
    std::unique_lock lock(mutex_);
    for (;;) {
      ++n_idle_;
      has_call_.wait(lock, [&] { return !calls_.empty(); });
      --n_idle_;
      const std::function<void()> call = std::move(calls_.front());
      calls_.pop_front();
      lock.unlock();
      call();
      lock.lock();
    }
  }

  std::mutex mutex_;
  std::condition_variable has_call_;
  std::deque<std::function<void()>> calls_;
  int n_threads_ = 0, n_idle_ = 0;
};

}  // namespace olx::server
