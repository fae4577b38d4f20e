#pragma once
// The oracle of all kernels: what an op's result is, in double, and how far a kernel may be from it by the contract
// in api/args.h. Used by the contract tests and the benchmark; evaluate() writes nothing into the Args.

#include <vector>

#include "kernels/api/args.h"

namespace olx::kernels::reference {

// Element (row, col) of the op's output is at row * n_cols + col. A row is a token.
struct Expected {
  int64_t n_rows = 0;
  int64_t n_cols = 0;
  std::vector<double> value;
  std::vector<double> bound;  // |got - value| <= bound, f32 subnormals aside
};

Expected evaluate(const EmbedArgs& args);
Expected evaluate(const QuantizeArgs& args);  // of ActivationFormat::decode of the output
Expected evaluate(const MatmulArgs& args);    // of any activation format: x is what decode() gives
Expected evaluate(const RmsNormArgs& args);
Expected evaluate(const RopeTableArgs& args);
Expected evaluate(const RopeArgs& args);
Expected evaluate(const AttentionArgs& args);
Expected evaluate(const GatedActivationArgs& args);
Expected evaluate(const AddArgs& args);
Expected evaluate(const ScaleArgs& args);
Expected evaluate(const SoftcapArgs& args);
Expected evaluate(const SoftmaxArgs& args);
Expected evaluate(const GatedMatmulArgs& args);
// [n_tokens, (n_heads + 2 n_kv_heads) * head_dim]: of each token the rotated q, then the decoded rows of k and of v; or
// what stands in y, where nothing is stored.
Expected evaluate(const QkvMatmulArgs& args);
// The same: q, then the decoded rows of k and of v.
Expected evaluate(const QkvStoreArgs& args);
Expected evaluate(const RmsNormAddArgs& args);
// [n_tokens, 2 * n_slices * k]: of each token the values, then the ids.
Expected evaluate(const TopKArgs& args);
// The decoded pages: [2 * n_tokens, n_kv_heads * head_dim], the k rows of all tokens and then the v rows.
Expected evaluate(const KvStoreArgs& args);

}  // namespace olx::kernels::reference
