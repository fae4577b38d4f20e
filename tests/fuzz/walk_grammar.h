#pragma once
// What both fuzz targets of grammars do with one that compiles: follow bytes through it, and hold it to its promise that
// whatever is allowed can be gone on with.

#include <cstdint>
#include <cstdlib>
#include <memory>

#include "engine/grammar/matcher.h"

namespace olx::engine {

inline void walk_grammar(std::shared_ptr<const Network> network, const uint8_t* data, size_t size) {
  MatcherLimits limits;
  limits.max_work = 20'000;
  limits.max_table_bytes = 1 << 18;
  Matcher matcher(std::move(network), limits);
  Matcher::State state = matcher.start();
  for (size_t i = 0; i < 200 && state != Matcher::kDead && !matcher.is_complete(state); ++i) {
    matcher.begin_token(state);
    // The byte that the input asks for, or the next one that is allowed.
    const auto wanted = static_cast<uint8_t>(i < size ? data[i] : i * 37);
    Matcher::State next = Matcher::kDead;
    for (int k = 0; k < 256 && next == Matcher::kDead; ++k) next = matcher.next(state, static_cast<uint8_t>(wanted + k));
    if (next == Matcher::kDead && !matcher.may_end(state) && !matcher.was_cut()) std::abort();
    state = next;
  }
}

}  // namespace olx::engine
