#pragma once
// The sending end of a TokenStream. The engine's loop holds one per sequence; the receiver may be gone already. A door of
// the engine for whoever brings events from elsewhere: the server's client of a worker process.

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>

#include "engine/request.h"

namespace olx::engine {

struct TokenStream::State {
  std::mutex mutex;
  std::condition_variable has_event;
  std::deque<TokenEvent> events;
  std::atomic<bool> is_cancelled{false};
  int64_t n_truncated = 0;  // prompt tokens left out; set before the stream is handed out
  // Its own lock: the callback runs without `mutex`, and a stream that goes away waits for one that is running.
  std::mutex callback_mutex;
  std::function<void()> on_ready;
  // Called once, by the receiver's thread, when it cancels or goes away. Set before the stream is handed out; empty in the
  // engine, which looks at is_cancelled.
  std::function<void()> on_cancel;

  void push(TokenEvent event) {
    {
      const std::lock_guard lock(mutex);
      events.push_back(std::move(event));
    }
    has_event.notify_one();
    const std::lock_guard lock(callback_mutex);
    if (on_ready) on_ready();
  }
};

}  // namespace olx::engine
