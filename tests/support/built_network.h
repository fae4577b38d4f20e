#pragma once
// A model file's network with everything that runs it on one device: for tests of plans and devices below ModelRunner.

#include <optional>

#include "engine/arch/architecture.h"
#include "engine/cache/kv_cache.h"
#include "engine/graph/graph_builder.h"
#include "engine/graph/plan.h"
#include "engine/model/weight_store.h"
#include "engine/model/weight_table.h"

namespace olx::tests {

// The file and the device outlive it. Steps of at most 16 tokens and 4 outputs, sequences of 64 positions.
struct BuiltNetwork {
  BuiltNetwork(const gguf::GgufFile& file, kernels::Device& device, gguf::DType cache_dtype, int n_sequences = 1)
      : config(engine::read_model_config(file)),
        architecture(*engine::find_architecture(config.architecture)),
        table(file, architecture, config),
        graph(graph_of(architecture, config, table)),
        weights(graph, table, device, 16),
        cache(device, {.n_layers = config.n_layers,
                       .n_kv_heads = config.n_kv_heads,
                       .head_dim = config.head_dim,
                       .n_sequences = n_sequences,
                       .n_ctx = 64,
                       .dtype = cache_dtype}) {
    weights.allocate(table);
    weights.load(file, table, engine::WeightStore::Portion::kAll, {});
    plan.emplace(device, graph, weights, cache, engine::Plan::Limits{.n_tokens = 16, .n_outputs = 4});
  }

  static engine::Graph graph_of(const engine::Architecture& architecture, const engine::ModelConfig& config,
                                const engine::WeightTable& table) {
    engine::GraphBuilder builder(config, table);
    architecture.build(config, builder);
    return builder.take();
  }

  const engine::ModelConfig config;
  const engine::Architecture& architecture;
  const engine::WeightTable table;
  const engine::Graph graph;
  engine::WeightStore weights;
  engine::KvCache cache;
  std::optional<engine::Plan> plan;
};

}  // namespace olx::tests
