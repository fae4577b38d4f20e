#pragma once
// Graph: what to compute in one step: nodes over values, in an order that is already valid. Made by GraphBuilder,
// turned into a Plan. It names weights by index and knows neither memory nor kernels.

#include <array>
#include <cstdint>
#include <variant>
#include <vector>

#include "kernels/api/args.h"
#include "kernels/api/op.h"

namespace olx::engine {

// One alternative per op, in the order of kernels::Op.
using NodeArgs =
    std::variant<kernels::EmbedArgs, kernels::QuantizeArgs, kernels::MatmulArgs,
                 kernels::RmsNormArgs, kernels::RopeTableArgs, kernels::RopeArgs,
                 kernels::KvStoreArgs, kernels::AttentionArgs, kernels::GatedActivationArgs,
                 kernels::AddArgs, kernels::ScaleArgs, kernels::SoftcapArgs, kernels::SoftmaxArgs,
                 kernels::GatedMatmulArgs, kernels::QkvMatmulArgs, kernels::TopKArgs, kernels::QkvStoreArgs,
                 kernels::RmsNormAddArgs>;
static_assert(std::variant_size_v<NodeArgs> == kernels::kNumOps);

// How many rows a value has in a step.
enum class RowCount : uint8_t {
  kTokens,   // every token of the batch
  kOutputs,  // only the tokens that want logits
};

struct GraphValue {
  int64_t n_cols = 0;
  RowCount rows = RowCount::kTokens;
  // f32 rows, or an encoding made by a kQuantize node.
  const kernels::ActivationFormat* format = &kernels::kActivationF32;
};

inline constexpr int kNoValue = -1;
inline constexpr int kNoWeight = -1;

// Scalars are in args; what is a pointer there is an index here until the plan binds it.
//   kEmbed: y, weight = table; or a = source rows to gather (no weight)   kQuantize: y, a
//   kMatmul: y, a = x, b = residual, weight, bias                         kRmsNorm: y, a, weight
//   kRopeTable: y, weight = frequency factors                             kRope: y = a (in place), b = table
//   kKvStore: a = k, b = v, layer                                         kAttention: y, a = q, layer
//   kGatedActivation: y, a = gate, b = up                                 kAdd: y, a, b
//   kScale, kSoftcap, kSoftmax: y, a
// Made by fuse.h alone:
//   kGatedMatmul: y, a = x, weight = of the norm, products = gate, up
//   kQkvMatmul: y = q, a = x, b = table, weight = of the norm, products = q, k, v, layer; without b y = q, k and v
//   kQkvStore: y = q, a = q, k and v, b = table, weight = of the norm of q, bias = of that of k, layer
//   kRmsNormAdd: y, a = x, b = residual, weight
struct GraphNode {
  NodeArgs args;
  int y = kNoValue;
  int a = kNoValue;
  int b = kNoValue;
  int weight = kNoWeight;
  int bias = kNoWeight;
  std::array<int, 3> products{kNoWeight, kNoWeight, kNoWeight};
  std::array<int, 3> product_biases{kNoWeight, kNoWeight, kNoWeight};
  int64_t layer = -1;  // -1: before the first; as many as there are layers: what makes the logits
  bool is_last_matmul = false;  // its errors are errors of the logits: activations are kept finer

  kernels::Op op() const { return static_cast<kernels::Op>(args.index()); }
};

struct Graph {
  std::vector<GraphValue> values;
  std::vector<GraphNode> nodes;
  int output = kNoValue;  // the value a step is computed for: logits, or hidden states; rows kOutputs
  // Of a part of a network (split_graph.h): values that are there before its first node, and values that later parts read.
  std::vector<int> inputs;
  std::vector<int> kept;
  bool has_later_cache = false;  // a later part writes the cache: all of this one is needed when no token wants logits
};

}  // namespace olx::engine
