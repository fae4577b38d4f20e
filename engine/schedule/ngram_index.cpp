#include "engine/schedule/ngram_index.h"

#include <algorithm>

namespace olx::engine {
namespace {

constexpr size_t kFirstSize = 256;
// A prompt could be made so that its n-grams meet in the table. Behind this many entries a place is
// given up (a draft is lost, nothing else), so that such a prompt costs no more than another.
constexpr size_t kMaxProbes = 32;
constexpr size_t kMaxText = INT32_MAX;

uint64_t hash(const int32_t* tokens, size_t n) {
  uint64_t h = 0x9e3779b97f4a7c15ull;
  for (size_t i = 0; i < n; ++i) {
    h = (h ^ static_cast<uint32_t>(tokens[i])) * 0xff51afd7ed558ccdull;
    h ^= h >> 32;
  }
  return h;
}

}  // namespace

int32_t& NgramIndex::entry(std::span<const int32_t> text, size_t end) {
  const int32_t* wanted = text.data() + (end - n_);
  const size_t mask = places_.size() - 1, first = hash(wanted, n_) & mask;
  for (size_t i = 0; i < kMaxProbes; ++i) {
    int32_t& place = places_[(first + i) & mask];
    if (place == 0 ||
        std::equal(wanted, wanted + n_, text.data() + (static_cast<size_t>(place) - n_)))
      return place;
  }
  return places_[first];
}

void NgramIndex::grow(std::span<const int32_t> text) {
  std::vector<int32_t> old(std::max(2 * places_.size(), kFirstSize), 0);
  old.swap(places_);
  for (int32_t place : old)
    if (place != 0) entry(text, static_cast<size_t>(place)) = place;
}

size_t NgramIndex::advance(std::span<const int32_t> text) {
  if (text.size() < n_ || text.size() > kMaxText) return 0;
  if (2 * (n_entries_ + 1) > places_.size()) grow(text);
  int32_t& place = entry(text, text.size());
  const auto before = static_cast<size_t>(place);
  place = static_cast<int32_t>(text.size());
  if (before == 0) {
    ++n_entries_;
    return 0;
  }
  // The entry given up for this one may hold another n-gram.
  const int32_t* last = text.data() + (text.size() - n_);
  return std::equal(last, last + n_, text.data() + (before - n_)) ? before : 0;
}

}  // namespace olx::engine
