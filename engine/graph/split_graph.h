#pragma once
// Cuts a graph between layers, so that each part can be a plan of its own on a device of its own.
// Used by StagedPlan and, for what a part needs of memory, by ModelRunner.

#include <cstdint>
#include <span>
#include <vector>

#include "engine/graph/graph.h"

namespace olx::engine {

// Part i has the layers [first_layers[i], first_layers[i + 1]); the first also what comes before
// them, the last what makes the logits (layer n_layers) unless first_layers ends with that. Values
// keep their numbers. What depends on positions alone (rope tables) is made in each part that reads
// it; every other value that crosses a border is in `kept` of the part that made it last and in
// `inputs` of those that read it. first_layers begins with 0 and ascends.
std::vector<Graph> split_graph(const Graph& graph, std::span<const int64_t> first_layers);

}  // namespace olx::engine
