#include "engine/graph/memory_plan.h"

#include <algorithm>
#include <numeric>

namespace olx::engine {
namespace {

constexpr int64_t kAlignment = 64;

int64_t aligned(int64_t size_bytes) { return (size_bytes + kAlignment - 1) / kAlignment * kAlignment; }

}  // namespace

MemoryPlan plan_memory(std::span<const Lifetime> values) {
  MemoryPlan plan;
  plan.offsets.assign(values.size(), 0);
  std::vector<size_t> order(values.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return values[a].size_bytes > values[b].size_bytes;
  });
  struct Placed {
    int64_t from;
    int64_t to;
    size_t value;
  };
  std::vector<Placed> placed;  // by offset
  for (size_t index : order) {
    const Lifetime& life = values[index];
    if (life.size_bytes == 0) continue;
    const int64_t size = aligned(life.size_bytes);
    int64_t offset = 0;
    for (const Placed& other : placed) {
      const Lifetime& theirs = values[other.value];
      const bool meet = theirs.first <= life.last && life.first <= theirs.last;
      if (!meet) continue;
      if (offset + size <= other.from) break;
      offset = std::max(offset, other.to);
    }
    plan.offsets[index] = offset;
    plan.size_bytes = std::max(plan.size_bytes, offset + size);
    const Placed here{offset, offset + size, index};
    placed.insert(std::upper_bound(placed.begin(), placed.end(), here,
                                   [](const Placed& a, const Placed& b) { return a.from < b.from; }),
                  here);
  }
  return plan;
}

}  // namespace olx::engine
