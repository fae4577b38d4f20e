#include "engine/graph/embedding_graph.h"

#include <algorithm>

namespace olx::engine {

Graph embedding_graph(Graph graph) {
  const auto last = std::find_if(graph.nodes.begin(), graph.nodes.end(),
                                 [](const GraphNode& node) { return node.is_last_matmul; });
  if (last == graph.nodes.end()) return graph;
  graph.output = last->a;
  graph.nodes.erase(last, graph.nodes.end());
  return graph;
}

}  // namespace olx::engine
