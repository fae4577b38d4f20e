#pragma once
// The part of a graph that ends at the hidden state its logits are made of: what an embedding is pooled from.
// Used by ModelRunner, which binds it to a plan of its own. Pooling and normalising are the engine's, not a graph's.

#include "engine/graph/graph.h"

namespace olx::engine {

// Without the matmul of the logits and what follows it. A graph that makes no logits is returned unchanged.
Graph embedding_graph(Graph graph);

}  // namespace olx::engine
