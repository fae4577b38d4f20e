#pragma once
// Which layers of a network run on the processor and which on devices beside it: the last ones, as
// Ollama's num_gpu counts them, with what makes the logits as one more. Used by ModelRunner.

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "engine/cache/kv_cache.h"
#include "engine/graph/graph.h"
#include "engine/model/weight_store.h"
#include "engine/model/weight_table.h"
#include "kernels/api/backend.h"

namespace olx::engine {

// The layers that one device runs, with what of memory that takes. Nothing is allocated.
struct Stage {
  kernels::Device* device = nullptr;
  int64_t first_layer = 0;
  int64_t n_cache_layers = 0;  // layers with keys and values
  Graph graph;                 // its part
  std::unique_ptr<WeightStore> weights;
  uint64_t kv_bytes = 0;
  uint64_t scratch_bytes =
      0;  // activations, and what attention and the device take for a step: an upper bound
  uint64_t total_bytes() const { return weights->size_bytes() + kv_bytes + scratch_bytes; }
};

// What decides how a network can be placed; all of it outlives the stages.
struct Network {
  const Graph& graph;
  const WeightTable& table;
  KvCache::Shape cache;
  int64_t n_batch = 0;
  int64_t n_logits = 0;
  bool makes_embeddings = false;  // there is a plan for hidden states too

  // What can be placed: the layers, and where there are logits what makes them.
  int64_t n_places() const;
  // Bytes of the arrays of a step, at most: ids and slots of all tokens and of those that want an
  // output, and the block table up to the last sequence of these and of those.
  std::vector<uint64_t> step_arrays() const;
};

// So many of a network's places, following those of the share before.
struct Share {
  kernels::Device* device = nullptr;
  int64_t n_places = 0;  // 1 ..
};

// A stage a share; they have n_places() between them. The first stage also has what comes before
// the layers. Throws EngineError(kUnsupported) naming what no kernel of a device can do.
std::vector<Stage> place(const Network& network, std::span<const Share> shares);

// Divides a network: the last n_device_layers on devices, as many as there is room for where that
// is -1, and the others on `host` (nullptr: there is none and a device takes all). They go to the
// one device that has the most room, if they fit there: at a border between devices values are
// copied, and one waits for the other. If not, to all devices, each filled to the same part, as
// Ollama does. spare_bytes of each device are left over. Takes no memory. Throws as place(), and
// DeviceError.
std::vector<Share> divide(const Network& network, kernels::Device* host,
                          std::span<kernels::Device* const> devices, int64_t n_device_layers,
                          uint64_t spare_bytes);

// How many to try after n did not fit although they should have: three quarters, at last none.
int64_t fewer_layers(int64_t n);

}  // namespace olx::engine
