#pragma once
// GraphBuilder: the words an architecture says its network with. Weights are named as in the architecture's table;
// begin_layer() says of which layer. An optional bias that the file lacks is left out. Say neighbours that do not depend
// on each other together (q, k and v; gate and up): the plan runs such a group without waiting in between.

#include <cstdint>
#include <map>
#include <string_view>

#include "engine/graph/graph.h"
#include "engine/model/model_config.h"
#include "engine/model/weight_table.h"

namespace olx::engine {

// A handle on a value of the graph being built.
struct Tensor {
  int value = kNoValue;
};

class GraphBuilder {
 public:
  GraphBuilder(const ModelConfig& config, const WeightTable& weights);

  void begin_layer(int64_t layer) { layer_ = layer; }
  bool has(std::string_view weight) const;

  // Rows of the table for the step's token ids, times scale.
  Tensor embed(std::string_view table, float scale = 1.0f);

  struct MatmulExtras {
    std::string_view bias = {};
    Tensor residual = {};  // added to the result
  };
  // x W^T. Fused with a bias and a sum where given.
  Tensor matmul(Tensor x, std::string_view weight, const MatmulExtras& extras);
  Tensor matmul(Tensor x, std::string_view weight) { return matmul(x, weight, MatmulExtras{}); }

  // The matmul that makes the logits, with finer activations than the others.
  Tensor logits_matmul(Tensor x, std::string_view weight);

  Tensor rms_norm(Tensor x, std::string_view weight);
  // Each head on its own (q and k norms).
  Tensor head_norm(Tensor x, std::string_view weight);
  // cos and sin of the step's positions; made once per configuration that is asked for.
  Tensor rope_table(const kernels::RopeConfig& config, std::string_view freq_factors = {});
  // Rotates all heads of x in place.
  Tensor rope(Tensor x, Tensor table, const kernels::RopeConfig& config);

  void kv_store(Tensor k, Tensor v);
  // Over the cache of this layer; sliding_window 0: the whole past.
  Tensor attention(Tensor q, int64_t sliding_window = 0);
  Tensor gated(Tensor gate, Tensor up);
  Tensor add(Tensor a, Tensor b);
  Tensor scale(Tensor x, float factor);
  Tensor softcap(Tensor x, float cap);

  // Once the last layer's keys and values are stored, only tokens that want logits have a use for the rest of the
  // network: there each argument is replaced by its rows for them. Before the last layer nothing happens.
  void drop_unneeded_rows(Tensor& a, Tensor& b);

  void set_logits(Tensor x);
  // The finished graph. set_logits() was called (OLX_CHECK).
  Graph take();

 private:
  int weight_index(std::string_view name) const;
  int required_weight(std::string_view name) const;
  Tensor add_value(int64_t n_cols, RowCount rows);
  const GraphValue& value(Tensor x) const;
  GraphNode& add_node(GraphNode node);
  Tensor gather_outputs(Tensor x);

  const ModelConfig& config_;
  const WeightTable& weights_;
  Graph graph_;
  int64_t layer_ = -1;
};

}  // namespace olx::engine
