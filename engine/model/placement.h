#pragma once
// Which layers of a network run on the processor and which on a device beside it: the last ones, as
// Ollama's num_gpu counts them, with what makes the logits as one more. Used by ModelRunner.

#include <cstdint>
#include <functional>
#include <memory>
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
  uint64_t scratch_bytes = 0;  // an upper bound
  uint64_t total_bytes() const { return weights->size_bytes() + kv_bytes + scratch_bytes; }
};

// What decides how a network can be placed; all of it outlives the stages.
struct Network {
  const Graph& graph;
  const WeightTable& table;
  KvCache::Shape cache;
  int64_t n_batch = 0;
  int64_t n_logits = 0;

  // What can be placed: the layers, and where there are logits what makes them.
  int64_t n_places() const;
};

// The last n_device_layers of n_places() on `device`, the others on `host`. None: all on the host;
// all of them: the embedding too is on the device, which is then the one stage. Throws
// EngineError(kUnsupported) naming what no kernel of a device can do.
std::vector<Stage> place(const Network& network, kernels::Device* host, kernels::Device* device,
                         int64_t n_device_layers);

// The most layers that `device` has room for, with spare_bytes left over. Throws as place(), and
// DeviceError.
int64_t layers_that_fit(const Network& network, kernels::Device* host, kernels::Device& device,
                        uint64_t spare_bytes);

// How many to try after n did not fit although they should have: three quarters, at last none.
int64_t fewer_layers(int64_t n);

}  // namespace olx::engine
