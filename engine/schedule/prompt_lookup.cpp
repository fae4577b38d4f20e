#include "engine/schedule/prompt_lookup.h"

namespace olx::engine {

// What to expect before anything is known: three tokens agree by chance, seventeen do not.
PromptLookup::PromptLookup()
    : rates_{HitRate(0.35, 4), HitRate(0.55, 4), HitRate(0.75, 4), HitRate(0.9, 4)} {}

size_t PromptLookup::class_of(size_t n_matched) {
  return n_matched < 5 ? 0 : n_matched < 9 ? 1 : n_matched < 17 ? 2 : 3;
}

void PromptLookup::read(std::span<const int32_t> tokens) {
  text_.reserve(text_.size() + tokens.size());
  for (int32_t token : tokens) append(token);
}

void PromptLookup::observe(int32_t token) {
  if (source_ != 0) rates_[class_of(n_matched_)].count(text_[source_] == token);
  append(token);
}

void PromptLookup::append(int32_t token) {
  if (source_ != 0 && text_[source_] == token) {
    ++source_;
    ++n_matched_;
  } else {
    source_ = 0;
  }
  text_.push_back(token);
  const size_t after_short = short_index_.advance(text_), after_long = long_index_.advance(text_);
  if (source_ != 0) return;
  source_ = after_long != 0 ? after_long : after_short;
  if (source_ == 0) return;
  // How far the agreement reaches back, up to where it makes no difference any more.
  constexpr size_t kFar = 17;
  n_matched_ = after_long != 0 ? kLong : kShort;
  while (n_matched_ < kFar && n_matched_ < source_ &&
         text_[source_ - n_matched_ - 1] == text_[text_.size() - n_matched_ - 1])
    ++n_matched_;
}

double PromptLookup::chance(size_t i) const {
  return source_ == 0 ? 0 : rates_[class_of(n_matched_ + i)].rate();
}

void PromptLookup::guess(size_t n, std::vector<int32_t>& draft) const {
  if (source_ == 0) return;
  const size_t first = draft.size();
  for (size_t i = 0; i < n; ++i) {
    const size_t from = source_ + i;
    draft.push_back(from < text_.size() ? text_[from] : draft[first + (from - text_.size())]);
  }
}

size_t PromptLookup::size_bytes() const {
  return text_.capacity() * sizeof(int32_t) + short_index_.size_bytes() + long_index_.size_bytes();
}

}  // namespace olx::engine
