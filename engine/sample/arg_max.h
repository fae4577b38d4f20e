#pragma once
// The most likely token: what greedy answers, drafts and benchmarks take.

#include <cstdint>
#include <span>

namespace olx::engine {

// The lowest id among the largest logits. NaN is less than anything; 0 where there is nothing else.
int32_t arg_max(std::span<const float> logits);

}  // namespace olx::engine
