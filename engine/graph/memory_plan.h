#pragma once
// Memory plan: where each value of a plan lies in one arena, so that values whose lifetimes do not meet share bytes.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace olx::engine {

// A value lives from the node that makes it to the last node that reads it, both included.
struct Lifetime {
  int64_t size_bytes = 0;  // 0: the value needs no memory of its own
  int first = 0;
  int last = 0;
};

struct MemoryPlan {
  std::vector<int64_t> offsets;  // per value, a multiple of 64
  int64_t size_bytes = 0;
};

// Largest first, each at the lowest offset free for its whole life (Pisarchyk & Lee 2020, arXiv:2001.03288,
// "greedy by size"). Deterministic.
MemoryPlan plan_memory(std::span<const Lifetime> values);

}  // namespace olx::engine
