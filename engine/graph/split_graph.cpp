#include "engine/graph/split_graph.h"

#include <algorithm>

#include "gguf/check.h"

namespace olx::engine {
namespace {

using kernels::Op;

bool contains(const std::vector<int>& values, int value) {
  return std::find(values.begin(), values.end(), value) != values.end();
}

// Of each node of the whole graph, the part it goes to: nodes are in the order of their layers.
std::vector<size_t> parts_of(const Graph& graph, std::span<const int64_t> first_layers) {
  std::vector<size_t> parts;
  size_t part = 0;
  for (const GraphNode& node : graph.nodes) {
    while (part + 1 < first_layers.size() && node.layer >= first_layers[part + 1]) ++part;
    parts.push_back(part);
  }
  return parts;
}

int written(const GraphNode& node) { return node.op() == Op::kRope ? node.a : node.y; }

}  // namespace

std::vector<Graph> split_graph(const Graph& graph, std::span<const int64_t> first_layers) {
  OLX_CHECK(!first_layers.empty() && first_layers[0] == 0);
  OLX_CHECK(std::is_sorted(first_layers.begin(), first_layers.end()));
  const std::vector<size_t> parts = parts_of(graph, first_layers);
  std::vector<Graph> split(first_layers.size());
  for (Graph& part : split) part.values = graph.values;
  std::vector<const GraphNode*> table_of(graph.values.size(), nullptr);
  std::vector<size_t> writer(graph.values.size(), 0);  // the part that wrote a value last
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    const GraphNode& node = graph.nodes[i];
    const size_t own = parts[i];
    Graph& part = split[own];
    for (int value : {node.a, node.b}) {
      if (value == kNoValue) continue;
      const auto index = static_cast<size_t>(value);
      if (writer[index] == own) continue;
      if (table_of[index] != nullptr) {
        part.nodes.push_back(*table_of[index]);
      } else {
        part.inputs.push_back(value);
        std::vector<int>& kept = split[writer[index]].kept;
        if (!contains(kept, value)) kept.push_back(value);
      }
      writer[index] = own;  // it is here now, for good or until a later part has it
    }
    if (node.op() == Op::kRopeTable) table_of[static_cast<size_t>(node.y)] = &node;
    if (written(node) != kNoValue) writer[static_cast<size_t>(written(node))] = own;
    part.nodes.push_back(node);
  }
  bool has_later_cache = false;
  for (size_t i = split.size(); i-- > 0;) {
    split[i].has_later_cache = has_later_cache;
    has_later_cache = has_later_cache ||
                      std::any_of(split[i].nodes.begin(), split[i].nodes.end(),
                                  [](const GraphNode& node) { return node.op() == Op::kKvStore; });
  }
  split[writer[static_cast<size_t>(graph.output)]].output = graph.output;
  return split;
}

}  // namespace olx::engine
