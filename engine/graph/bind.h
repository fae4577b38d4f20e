#pragma once
// Turns the indices of a graph node into the pointers its kernel reads: once per plan, and row counts once per step.
// A new op adds one overload to each of the two visitors in bind.cpp. Used by Plan alone.

#include <cstdint>
#include <vector>

#include "engine/cache/kv_cache.h"
#include "engine/graph/graph.h"
#include "engine/model/weight_store.h"

namespace olx::engine {

// Where a value lies, at the planned maximum of rows.
struct BoundValue {
  kernels::MatrixView matrix;  // of an encoded value only data and the counts mean something
  const kernels::ActivationFormat* format = nullptr;
};

struct BindContext {
  std::vector<BoundValue> views;  // by value
  const WeightStore& weights;
  const KvCache& cache;
  const int32_t* ids = nullptr;   // of tokens, or of rows to gather
  const kernels::TokenSlot* slots = nullptr;
  const kernels::ActivationFormat* rows_format =
      nullptr;  // what a kernel encodes f32 rows as; nullptr: the value's own
};

struct RowCounts {
  int64_t n_tokens = 0;
  int64_t n_outputs = 0;
  int64_t n_prompt = 0;  // of n_tokens the last so many belong to prompts; output rows are computed like single tokens
  int64_t attention_scratch_elems = 0;
};

// A kEmbed that picks rows of a value rather than of a weight.
bool is_gather(const GraphNode& node);
// What of a scratch for splits of attention is worth having: enough for what few tokens see of a
// full cache.
int64_t wanted_attention_scratch(const kernels::AttentionArgs& args, int64_t n_tokens_max);
void bind_args(GraphNode& node, const BindContext& context);
void set_rows(GraphNode& node, RowCount rows, const RowCounts& counts);

}  // namespace olx::engine
