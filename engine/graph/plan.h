#pragma once
// Plan: a Graph bound to one device: a kernel for every node, a place for every value, activations encoded once for
// all matmuls that want them so. Made once per model; execute() patches row counts and allocates nothing.

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/cache/kv_cache.h"
#include "engine/error.h"
#include "engine/graph/bind.h"
#include "engine/graph/candidates.h"
#include "engine/graph/file_matmuls.h"
#include "engine/graph/graph.h"
#include "engine/model/weight_store.h"
#include "kernels/api/backend.h"
#include "kernels/api/registry.h"

namespace olx::engine {

// "no kernel for matmul of Q2_K weights on cpu (…)": what a plan that cannot be built fails with.
EngineError missing_kernel(kernels::Op op, gguf::DType dtype, const kernels::DeviceInfo& device,
                           const std::string& detail = "");

class Plan {
 public:
  struct Limits {
    int64_t n_tokens = 0;   // of one step
    int64_t n_outputs = 0;  // tokens of one step that want an output row
    bool has_candidates = false;  // the outputs are logits whose largest may be asked for
  };
  // weights and cache outlive the plan.
  // Throws EngineError(kUnsupported) naming op, type and device of a node without a kernel,
  // DeviceError without memory. lender: a plan for the same device that never runs at the same
  // time, whose memory this one uses as far as it is enough; it outlives this one. nullptr: all
  // memory is its own.
  Plan(kernels::Device& device, const Graph& graph, const WeightStore& weights,
       const KvCache& cache, const Limits& limits, Plan* lender = nullptr);

  struct Step {
    std::span<const int32_t> ids;                  // 1 .. n_tokens
    std::span<const kernels::TokenSlot> slots;     // as many
    int64_t n_prompt = 0;                          // the last so many are tokens of prompts
    std::span<const int32_t> outputs;              // indices into ids, ascending, 0 .. n_outputs
    int64_t n_candidates = 0;  // of each output row to be found, 0 .. n_candidates_max()
  };
  // False when cancelled in between. matmuls: for weights of the store that are not loaded yet; then it also throws what
  // FileMatmuls::end_step() does.
  bool execute(const Step& step, const std::atomic<bool>* cancel, FileMatmuls* matmuls = nullptr) {
    return !begin(step) || run(cancel, matmuls);
  }
  // The same in two, for a part of a network. begin() sets the row counts; false: no node is needed for this step. Then
  // take() brings in each of the graph's inputs, and run() does the work.
  bool begin(const Step& step);
  void take(const Plan& from, int value);  // which keeps it, and has run this step
  bool run(const std::atomic<bool>* cancel, FileMatmuls* matmuls = nullptr);
  // The i-th row of the graph's output, of the last step.
  float* output(int64_t i) const;
  // 0: the device has no kernel for it, or Limits::has_candidates was not set.
  int64_t n_candidates_max() const { return candidates_ ? kernels::kTopKMax : 0; }
  // The largest of that row, n_candidates of them.
  CandidateRow candidates(int64_t i) const { return candidates_->row(i); }

  const std::string& device_name() const { return device_.info().name; }
  // Of its own.
  uint64_t scratch_bytes() const {
    return (own_arena_ ? own_arena_->size_bytes() : 0) +
           (own_attention_scratch_ ? own_attention_scratch_->size_bytes() : 0) +
           (candidates_ ? candidates_->own_bytes() : 0);
  }
  // Nodes that stand for several of the graph, or encode what they read (fuse.h).
  int n_fused() const { return n_fused_; }
  // One line per (op, kernel) with the number of nodes.
  std::string describe() const;

 private:
  struct Node {
    GraphNode graph;
    const kernels::KernelRow* kernel = nullptr;
    RowCount rows = RowCount::kTokens;
    kernels::NodeOrder order = kernels::NodeOrder::kAfterAll;
  };
  void lower(const Graph& graph, const WeightStore& weights, const KvCache& cache);
  int quantized(int value, const kernels::ActivationFormat* format);
  std::vector<int> share_storage() const;
  void order_nodes(const std::vector<int>& owner);
  bool conflict(const GraphNode& a, const GraphNode& b, const std::vector<int>& owner) const;
  void place_values(const std::vector<int>& owner, Plan* lender);
  void choose_kernels(const WeightStore& weights, const KvCache& cache);
  void bind(const WeightStore& weights, const KvCache& cache, Plan* lender);
  int64_t max_rows(RowCount rows) const {
    return rows == RowCount::kTokens ? limits_.n_tokens : limits_.n_outputs;
  }
  int64_t value_bytes(const GraphValue& value) const;
  kernels::MatrixView view(int value) const;

  kernels::Device& device_;
  Limits limits_;
  std::vector<GraphValue> values_;
  std::vector<Node> nodes_;
  std::vector<std::pair<std::pair<int, const kernels::ActivationFormat*>, int>> quantized_;
  std::vector<int64_t> offsets_;  // of values, in the arena
  std::unique_ptr<kernels::Buffer> own_arena_,
      own_attention_scratch_;  // nullptr: the lender's are used
  kernels::Buffer* arena_ = nullptr;
  kernels::Buffer* attention_scratch_ = nullptr;
  int n_fused_ = 0;
  int64_t attention_scratch_elems_ = 0;
  std::unique_ptr<Candidates> candidates_;  // nullptr: they cannot be asked for
  std::vector<kernels::BoundNode> bound_;   // of the graph, then of the candidates
  size_t n_without_outputs_ = 0;  // nodes to run when no token wants logits: up to the last cache write
  int output_value_ = kNoValue;
  std::vector<int> inputs_, kept_;  // Graph::inputs, kept
  RowCounts counts_;                // of the step
  size_t n_nodes_ = 0;              // to run in it

  // The step, where kernels read it: addresses never change.
  std::vector<int32_t> ids_;
  std::vector<int32_t> outputs_;
  std::vector<kernels::TokenSlot> slots_;
  std::vector<kernels::TokenSlot> output_slots_;
};

}  // namespace olx::engine
