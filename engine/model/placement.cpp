#include "engine/model/placement.h"

#include <algorithm>
#include <numeric>
#include <optional>
#include <utility>
#include <variant>

#include "engine/graph/bind.h"
#include "engine/graph/candidates.h"
#include "engine/graph/embedding_graph.h"
#include "engine/graph/split_graph.h"
#include "gguf/check.h"

namespace olx::engine {
namespace {

// More than the plan will ask for its values, which shares the space of values that are not needed
// at the same time: at most four rows as wide as the widest live at once (the residual, what a
// block reads, and the two it joins), encoded forms included.
uint64_t values_bound(const Graph& graph, int64_t n_tokens, int64_t n_outputs) {
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

// What the plan will ask for splits of attention.
uint64_t attention_bytes(const Graph& graph, const Network& network, int64_t n_outputs) {
  int64_t n_elems = 0;
  for (const GraphNode& node : graph.nodes) {
    const auto* attention = std::get_if<kernels::AttentionArgs>(&node.args);
    if (attention == nullptr) continue;
    kernels::AttentionArgs args = *attention;
    args.kv.n_kv_heads = network.cache.n_kv_heads;
    args.kv.head_dim = network.cache.head_dim;
    args.kv.page_tokens = kPageTokens;
    args.kv.max_blocks = network.cache.max_blocks();
    const bool is_all = graph.values[static_cast<size_t>(node.y)].rows == RowCount::kTokens;
    n_elems = std::max(n_elems,
                       wanted_attention_scratch(args, is_all ? network.n_batch : n_outputs));
  }
  return static_cast<uint64_t>(n_elems) * sizeof(float);
}

// What the largest logits of a row are found in; of a part that makes none, or where the device
// has no kernel for it, nothing.
uint64_t candidates_bytes(const Graph& graph, const Network& network,
                          const kernels::Device& device) {
  if (graph.output == kNoValue) return 0;
  const int64_t n_cols = graph.values[static_cast<size_t>(graph.output)].n_cols;
  return Candidates::are_offered(device.info(), n_cols)
             ? Candidates::needed_bytes(network.n_logits, n_cols)
             : 0;
}

// What the plan of the hidden states takes beside the other, whose memory it uses where that is
// enough.
uint64_t hidden_bytes(const Graph& graph, const Network& network) {
  return network.makes_embeddings ? values_bound(graph, network.n_batch, network.n_batch) +
                                        attention_bytes(graph, network, network.n_batch)
                                  : 0;
}

}  // namespace

int64_t Network::n_places() const {
  const bool has_logits =
      std::any_of(graph.nodes.begin(), graph.nodes.end(),
                  [&](const GraphNode& node) { return node.layer >= cache.n_layers; });
  return cache.n_layers + (has_logits ? 1 : 0);
}

std::vector<uint64_t> Network::step_arrays() const {
  const auto bytes = [](int64_t n, size_t of) { return static_cast<uint64_t>(n) * of; };
  const uint64_t table = bytes(cache.n_sequences * cache.max_blocks(), sizeof(int32_t));
  const int64_t n_outputs = makes_embeddings ? n_batch : n_logits;
  return {bytes(n_batch, sizeof(int32_t)),
          bytes(n_batch, sizeof(kernels::TokenSlot)),
          bytes(n_outputs, sizeof(int32_t)),
          bytes(n_outputs, sizeof(kernels::TokenSlot)),
          table,
          table};
}

std::vector<Stage> place(const Network& network, std::span<const Share> shares) {
  const int64_t n_cache_layers = network.cache.n_layers;
  std::vector<int64_t> first_layers;
  int64_t n_placed = 0;
  for (const Share& share : shares) {
    OLX_CHECK(share.device != nullptr && share.n_places > 0);
    first_layers.push_back(n_placed);
    n_placed += share.n_places;
  }
  OLX_CHECK(n_placed == network.n_places());
  std::vector<Graph> parts = split_graph(network.graph, first_layers);
  const std::vector<Graph> hidden = network.makes_embeddings
                                        ? split_graph(embedding_graph(network.graph), first_layers)
                                        : std::vector<Graph>(parts.size());
  std::vector<Stage> stages;
  for (size_t i = 0; i < parts.size(); ++i) {
    const int64_t from = std::min(first_layers[i], n_cache_layers);
    const int64_t to = std::min(first_layers[i] + shares[i].n_places, n_cache_layers);
    KvCache::Shape cache = network.cache;
    cache.n_layers = to - from;
    Stage stage{.device = shares[i].device, .first_layer = from, .n_cache_layers = to - from};
    stage.weights =
        std::make_unique<WeightStore>(parts[i], network.table, *stage.device, network.n_batch);
    stage.kv_bytes = cache.n_layers > 0 ? KvCache::needed_bytes(cache) : 0;
    stage.scratch_bytes = values_bound(parts[i], network.n_batch, network.n_logits) +
                          attention_bytes(parts[i], network, network.n_logits) +
                          candidates_bytes(parts[i], network, *stage.device) +
                          hidden_bytes(hidden[i], network) +
                          stage.device->staging_bytes(network.step_arrays());
    stage.graph = std::move(parts[i]);
    stages.push_back(std::move(stage));
  }
  return stages;
}

namespace {

struct Room {
  kernels::Device* device = nullptr;
  uint64_t n_bytes = 0;
};

// The last n places on one device.
std::vector<Share> on_one(const Network& network, kernels::Device* host, kernels::Device* device,
                          int64_t n) {
  std::vector<Share> shares;
  if (n < network.n_places()) shares.push_back({host, network.n_places() - n});
  if (n > 0) shares.push_back({device, n});
  return shares;
}

bool fits_one(const Network& network, kernels::Device* host, const Room& room, int64_t n) {
  return n == 0 ||
         place(network, on_one(network, host, room.device, n)).back().total_bytes() <= room.n_bytes;
}

// What the places take one by one: together they take no more, for weights that two of them read
// are there once.
struct Costs {
  std::vector<uint64_t> places;
  uint64_t scratch_bytes = 0;  // of any device

  Costs(const Network& network, kernels::Device* device) {
    const std::vector<Share> apart(static_cast<size_t>(network.n_places()), Share{device, 1});
    for (const Stage& stage : place(network, apart)) {
      places.push_back(stage.weights->size_bytes() + stage.kv_bytes);
      scratch_bytes = std::max(scratch_bytes, stage.scratch_bytes);
    }
  }
};

// At most the last n places, filling `part` of each device's room before the next one's: how many
// each has.
std::vector<int64_t> fill(const Costs& costs, std::span<const Room> rooms, double part, int64_t n) {
  std::vector<int64_t> counts(rooms.size(), 0);
  size_t device = 0;
  uint64_t used_bytes = costs.scratch_bytes;
  for (size_t i = costs.places.size(); i-- > costs.places.size() - static_cast<size_t>(n);) {
    const uint64_t cost = costs.places[i];
    while (static_cast<double>(used_bytes + cost) >
           part * static_cast<double>(rooms[device].n_bytes)) {
      if (++device == rooms.size()) return counts;
      used_bytes = costs.scratch_bytes;
    }
    used_bytes += cost;
    ++counts[device];
  }
  return counts;
}

int64_t sum(const std::vector<int64_t>& counts) {
  return std::accumulate(counts.begin(), counts.end(), int64_t{0});
}

// As many of the last n places as fit, or all of them even so; of each device's room the smallest
// part that holds them.
std::vector<int64_t> spread(const Costs& costs, std::span<const Room> rooms, int64_t n,
                            bool is_forced) {
  double enough = 1, too_little = 0;
  while (is_forced && enough < 1e12 && sum(fill(costs, rooms, enough, n)) < n) enough *= 2;
  std::vector<int64_t> best = fill(costs, rooms, enough, n);
  for (int step = 0; step < 40; ++step) {
    const double part = (enough + too_little) / 2;
    std::vector<int64_t> counts = fill(costs, rooms, part, n);
    if (sum(counts) == sum(best)) {
      best = std::move(counts);
      enough = part;
    } else {
      too_little = part;
    }
  }
  if (is_forced) best.front() += n - sum(best);  // devices without any room at all
  return best;
}

}  // namespace

std::vector<Share> divide(const Network& network, kernels::Device* host,
                          std::span<kernels::Device* const> devices, int64_t n_device_layers,
                          uint64_t spare_bytes) {
  const int64_t n_places = network.n_places();
  const bool is_forced = n_device_layers >= 0;
  const int64_t n_wanted = is_forced ? std::min(n_device_layers, n_places) : n_places;
  if (devices.empty()) return {{host, n_places}};
  std::vector<Room> rooms;
  for (kernels::Device* device : devices) {
    const std::optional<uint64_t> free_bytes = device->free_bytes();
    if (!free_bytes) return on_one(network, host, device, n_wanted);
    rooms.push_back({device, *free_bytes - std::min(*free_bytes, spare_bytes)});
  }
  std::stable_sort(rooms.begin(), rooms.end(),
                   [](const Room& a, const Room& b) { return a.n_bytes > b.n_bytes; });
  if (rooms.size() == 1 && is_forced) return on_one(network, host, rooms[0].device, n_wanted);
  if (fits_one(network, host, rooms[0], n_wanted))
    return on_one(network, host, rooms[0].device, n_wanted);
  std::vector<int64_t> counts;
  if (rooms.size() > 1)
    counts = spread(Costs(network, rooms[0].device), rooms, n_wanted, is_forced);
  for (int64_t n = n_wanted - 1; !is_forced && n > sum(counts); --n)
    if (fits_one(network, host, rooms[0], n)) return on_one(network, host, rooms[0].device, n);
  std::vector<Share> shares;
  if (sum(counts) < n_places) shares.push_back({host, n_places - sum(counts)});
  for (size_t i = counts.size(); i-- > 0;)  // the one with the most room makes the logits
    if (counts[i] > 0) shares.push_back({rooms[i].device, counts[i]});
  return shares;
}

int64_t fewer_layers(int64_t n) { return std::min(n - 1, n * 3 / 4); }

}  // namespace olx::engine
