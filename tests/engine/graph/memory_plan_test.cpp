#include "engine/graph/memory_plan.h"

#include <random>
#include <vector>

#include "tests/support/catch.h"

using olx::engine::Lifetime;
using olx::engine::plan_memory;

TEST_CASE("MemoryPlan_ReusesBytesOfValuesThatNeverMeet") {
  const std::vector<Lifetime> chain{{640, 0, 1}, {640, 1, 2}, {640, 2, 3}, {640, 3, 4}};
  CHECK(plan_memory(chain).size_bytes == 1280);
}

TEST_CASE("MemoryPlan_NeverOverlapsValuesThatLiveTogether") {
  std::mt19937 rng(3);
  for (int round = 0; round < 200; ++round) {
    std::vector<Lifetime> values;
    for (int i = 0; i < 40; ++i) {
      const int first = static_cast<int>(rng() % 30);
      values.push_back({static_cast<int64_t>(rng() % 5000), first, first + static_cast<int>(rng() % 6)});
    }
    const auto plan = plan_memory(values);
    for (size_t i = 0; i < values.size(); ++i) {
      CHECK(plan.offsets[i] % 64 == 0);
      CHECK(plan.offsets[i] + values[i].size_bytes <= plan.size_bytes);
      for (size_t j = 0; j < i; ++j) {
        const bool meet = values[i].first <= values[j].last && values[j].first <= values[i].last;
        const bool apart = plan.offsets[i] + values[i].size_bytes <= plan.offsets[j] ||
                           plan.offsets[j] + values[j].size_bytes <= plan.offsets[i];
        const bool is_empty = values[i].size_bytes == 0 || values[j].size_bytes == 0;
        REQUIRE((!meet || apart || is_empty));
      }
    }
  }
}
