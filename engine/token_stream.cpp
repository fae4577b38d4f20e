#include "engine/token_channel.h"

namespace olx::engine {

TokenStream::TokenStream(std::shared_ptr<State> state) : state_(std::move(state)) {}
TokenStream::TokenStream(TokenStream&&) noexcept = default;

TokenStream& TokenStream::operator=(TokenStream&& other) noexcept {
  if (this != &other) {
    cancel();
    state_ = std::move(other.state_);
  }
  return *this;
}

TokenStream::~TokenStream() { cancel(); }

void TokenStream::cancel() {
  if (!state_) return;
  const bool is_first = !state_->is_cancelled.exchange(true);
  {
    const std::lock_guard lock(state_->callback_mutex);
    state_->on_ready = nullptr;
  }
  if (is_first && state_->on_cancel) state_->on_cancel();
}

int64_t TokenStream::n_truncated_tokens() const { return state_->n_truncated; }

TokenEvent TokenStream::next() {
  std::unique_lock lock(state_->mutex);
  state_->has_event.wait(lock, [&] { return !state_->events.empty(); });
  TokenEvent event = std::move(state_->events.front());
  state_->events.pop_front();
  return event;
}

std::optional<TokenEvent> TokenStream::poll() {
  const std::lock_guard lock(state_->mutex);
  if (state_->events.empty()) return std::nullopt;
  TokenEvent event = std::move(state_->events.front());
  state_->events.pop_front();
  return event;
}

void TokenStream::on_ready(std::function<void()> callback) {
  {
    const std::lock_guard lock(state_->callback_mutex);
    state_->on_ready = callback;
  }
  bool is_waiting = false;
  {
    const std::lock_guard lock(state_->mutex);
    is_waiting = !state_->events.empty();
  }
  if (is_waiting && callback) callback();
}

}  // namespace olx::engine
