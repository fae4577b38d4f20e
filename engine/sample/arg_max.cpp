#include "engine/sample/arg_max.h"

#include <algorithm>
#include <limits>

namespace olx::engine {
namespace {

constexpr float kLeast = -std::numeric_limits<float>::infinity();

float largest(std::span<const float> x) {
  constexpr size_t kLanes = 16;  // independent of each other, so that compilers make vectors of them
  float lanes[kLanes];
  std::fill(std::begin(lanes), std::end(lanes), kLeast);
  size_t i = 0;
  for (; i + kLanes <= x.size(); i += kLanes)
    for (size_t lane = 0; lane < kLanes; ++lane) lanes[lane] = x[i + lane] > lanes[lane] ? x[i + lane] : lanes[lane];
  for (; i < x.size(); ++i) lanes[0] = x[i] > lanes[0] ? x[i] : lanes[0];
  return *std::max_element(std::begin(lanes), std::end(lanes));
}

}  // namespace

int32_t arg_max(std::span<const float> logits) {
  constexpr size_t kBlock = 4096;
  float best = kLeast;
  size_t block = 0;  // the first one that holds it
  for (size_t from = 0; from < logits.size(); from += kBlock) {
    const float here = largest(logits.subspan(from, std::min(kBlock, logits.size() - from)));
    if (here > best) best = here, block = from;
  }
  const auto found = std::find(logits.begin() + static_cast<std::ptrdiff_t>(block), logits.end(), best);
  return found == logits.end() ? 0 : static_cast<int32_t>(found - logits.begin());
}

}  // namespace olx::engine
