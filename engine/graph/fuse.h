#pragma once
// Groups of nodes that a device has one kernel for: a norm with the products of what it makes and
// what becomes of them. A launch costs a device more than many a small node, so steps of few tokens
// are made of fewer. Used by Plan.

#include <vector>

#include "engine/cache/kv_cache.h"
#include "engine/graph/graph.h"
#include "engine/model/weight_store.h"
#include "kernels/api/backend.h"
#include "kernels/api/registry.h"

namespace olx::engine {

struct FusedNode {
  GraphNode node;
  const kernels::KernelRow* kernel = nullptr;  // of the group; nullptr: one node, as it was
};

struct FuseLimits {
  int64_t n_tokens = 0;
  int64_t n_outputs = 0;
};

// The graph's nodes in their order, with in the place of
//   rms_norm, three matmuls, two ropes, kv_store                one kQkvMatmul
//   the same with norms of heads, or with a cache of Q8_0       a kQkvMatmul and a kQkvStore
//   rms_norm, two matmuls, gated_activation                     one kGatedMatmul
//   a matmul that alone reads its input, and encodes it         a kMatmul that takes f32 rows
//   rms_norm, add                                               one kRmsNormAdd
// where a kernel of the device takes them at these limits. Of matmuls only what would be encoded in
// a node of its own is fused: a kernel that reads f32 anyway keeps its numbers. Nothing is with
// OLLAMAX_FUSE=0. `weights` have their addresses; `values`, the graph's, get those that only fused
// nodes have.
std::vector<FusedNode> fuse(const Graph& graph, const WeightStore& weights, const KvCache& cache,
                            const kernels::DeviceInfo& device, const FuseLimits& limits,
                            std::vector<GraphValue>& values);

}  // namespace olx::engine
