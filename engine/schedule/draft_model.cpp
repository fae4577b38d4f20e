#include "engine/schedule/draft_model.h"

#include <algorithm>

#include "engine/sample/arg_max.h"

namespace olx::engine {

DraftModel::DraftModel(Runner& runner, int32_t vocab_size, Clock clock)
    : runner_(runner),
      vocab_size_(vocab_size),
      clock_(std::move(clock)),
      cached_(static_cast<size_t>(runner.n_sequences())) {}

void DraftModel::forget_all() {
  for (size_t i = 0; i < cached_.size(); ++i) {
    cached_[i].clear();
    runner_.truncate(static_cast<int32_t>(i), 0);
  }
}

void DraftModel::put(int32_t sequence, std::span<const int32_t> tokens, size_t n, bool is_prompt) {
  const size_t from = cached_[static_cast<size_t>(sequence)].size();
  for (size_t i = from; i < from + n; ++i)
    batch_.push_back(
        {tokens[i], sequence, static_cast<int32_t>(i), i + 1 == tokens.size(), is_prompt});
}

bool DraftModel::run() {
  if (!runner_.forward(batch_, nullptr)) return false;
  for (const BatchToken& token : batch_)
    cached_[static_cast<size_t>(token.sequence)].push_back(token.id);
  return true;
}

// Reads what is new of the texts, at most a batch of it; puts the asks that are read to their end
// into wanting_.
bool DraftModel::read(std::span<const Ask> asks) {
  batch_.clear();
  wanting_.clear();
  const auto full = static_cast<size_t>(runner_.n_batch());
  for (size_t i = 0; i < asks.size(); ++i) {
    const Ask& ask = asks[i];
    std::vector<int32_t>& cached = cached_[static_cast<size_t>(ask.sequence)];
    const size_t limit =
        std::min(cached.size(), ask.tokens.size() - 1);  // the last one's logits are wanted
    const auto [differs, ignored] = std::mismatch(
        cached.begin(), cached.begin() + static_cast<int64_t>(limit), ask.tokens.begin());
    cached.resize(static_cast<size_t>(differs - cached.begin()));
    runner_.truncate(ask.sequence, static_cast<int64_t>(cached.size()));
    const size_t n_new = std::min(ask.tokens.size() - cached.size(), full - batch_.size());
    if (n_new == 0 || !has_room(ask.tokens.size() + ask.n)) continue;
    if (!runner_.reserve(ask.sequence, static_cast<int64_t>(cached.size() + n_new))) continue;
    if (cached.size() + n_new == ask.tokens.size()) wanting_.push_back(i);
    put(ask.sequence, ask.tokens, n_new, n_new > 2);
  }
  return !batch_.empty() && run();
}

void DraftModel::guess(std::span<const Ask> asks) {
  if (!read(asks)) return;
  const int64_t begun_ns = clock_();
  int n_rounds = 0;
  while (!wanting_.empty()) {
    for (size_t i = 0; i < wanting_.size(); ++i) {
      const std::span<const float> logits =
          runner_.logits(static_cast<int64_t>(i)).first(static_cast<size_t>(vocab_size_));
      asks[wanting_[i]].draft->push_back(arg_max(logits));
    }
    std::erase_if(wanting_, [&](size_t i) { return asks[i].draft->size() >= asks[i].n; });
    batch_.clear();
    std::erase_if(wanting_, [&](size_t i) {
      const Ask& ask = asks[i];
      const auto position = static_cast<int32_t>(cached_[static_cast<size_t>(ask.sequence)].size());
      if (!runner_.reserve(ask.sequence, position + 1)) return true;
      batch_.push_back({ask.draft->back(), ask.sequence, position, true, false});
      return false;
    });
    if (batch_.empty() || !run()) break;
    ++n_rounds;
  }
  if (n_rounds == 0) return;
  const double ns = static_cast<double>(clock_() - begun_ns) / n_rounds;
  round_ns_ = round_ns_ == 0 ? ns : round_ns_ + 0.15 * (std::min(ns, 2 * round_ns_) - round_ns_);
}

}  // namespace olx::engine
