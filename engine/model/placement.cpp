#include "engine/model/placement.h"

#include <algorithm>

#include "engine/graph/split_graph.h"
#include "gguf/check.h"

namespace olx::engine {
namespace {

// More than the plan will ask for, which shares the space of values that are not needed at the same
// time: at most four rows as wide as the widest live at once (the residual, what a block reads, and
// the two it joins), encoded forms included.
uint64_t scratch_bound(const Graph& graph, int64_t n_tokens, int64_t n_outputs) {
  constexpr int64_t kLiveRows = 4;
  int64_t widest = 0, widest_output = 0;
  for (const GraphNode& node : graph.nodes)
    for (const int index : {node.a, node.b, node.y}) {
      if (index == kNoValue) continue;
      const GraphValue& value = graph.values[static_cast<size_t>(index)];
      int64_t& most = value.rows == RowCount::kTokens ? widest : widest_output;
      most = std::max(most, value.n_cols);
    }
  const int64_t n_values = n_tokens * widest + n_outputs * widest_output;
  return static_cast<uint64_t>(n_values * kLiveRows) * sizeof(float);
}

}  // namespace

int64_t Network::n_places() const {
  const bool has_logits =
      std::any_of(graph.nodes.begin(), graph.nodes.end(),
                  [&](const GraphNode& node) { return node.layer >= cache.n_layers; });
  return cache.n_layers + (has_logits ? 1 : 0);
}

std::vector<Stage> place(const Network& network, kernels::Device* host, kernels::Device* device,
                         int64_t n_device_layers) {
  const int64_t n_places = network.n_places();
  OLX_CHECK(n_device_layers >= 0 && n_device_layers <= n_places);
  std::vector<int64_t> first_layers{0};
  std::vector<kernels::Device*> devices{n_device_layers == n_places ? device : host};
  if (n_device_layers > 0 && n_device_layers < n_places) {
    first_layers.push_back(n_places - n_device_layers);
    devices.push_back(device);
  }
  std::vector<Graph> parts = split_graph(network.graph, first_layers);
  std::vector<Stage> stages;
  for (size_t i = 0; i < parts.size(); ++i) {
    OLX_CHECK(devices[i] != nullptr);
    const int64_t from = std::min(first_layers[i], network.cache.n_layers);
    const int64_t to = i + 1 < parts.size() ? std::min(first_layers[i + 1], network.cache.n_layers)
                                            : network.cache.n_layers;
    KvCache::Shape cache = network.cache;
    cache.n_layers = to - from;
    Stage stage{.device = devices[i], .first_layer = from, .n_cache_layers = to - from};
    stage.weights =
        std::make_unique<WeightStore>(parts[i], network.table, *devices[i], network.n_batch);
    stage.kv_bytes = cache.n_layers > 0 ? KvCache::needed_bytes(cache) : 0;
    stage.scratch_bytes = scratch_bound(parts[i], network.n_batch, network.n_logits);
    stage.graph = std::move(parts[i]);
    stages.push_back(std::move(stage));
  }
  return stages;
}

int64_t layers_that_fit(const Network& network, kernels::Device* host, kernels::Device& device,
                        uint64_t spare_bytes) {
  const int64_t n_places = network.n_places();
  const std::optional<uint64_t> free_bytes = device.free_bytes();
  if (!free_bytes) return n_places;
  const uint64_t room = *free_bytes - std::min(*free_bytes, spare_bytes);
  for (int64_t n = n_places; n > 0; --n) {
    const std::vector<Stage> stages = place(network, host, &device, n);
    if (stages.back().total_bytes() <= room) return n;
  }
  return 0;
}

int64_t fewer_layers(int64_t n) { return std::min(n - 1, n * 3 / 4); }

}  // namespace olx::engine
