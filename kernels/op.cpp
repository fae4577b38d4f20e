#include "kernels/api/op.h"

#include <array>

#include "gguf/check.h"
#include "kernels/api/registry.h"
#include "kernels/args_cast.h"

namespace olx::kernels {

std::string_view op_name(Op op) {
  constexpr std::array<std::string_view, kNumOps> kNames{"embed",     "quantize",  "matmul", "rms_norm", "rope_table",
                                                         "rope",      "kv_store",  "attention", "gated_activation",
                                                         "add",       "scale",     "softcap", "softmax",
                                                         "gated_matmul", "qkv_matmul", "top_k", "qkv_store", "rms_norm_add"};
  OLX_CHECK(static_cast<size_t>(op) < kNames.size());
  return kNames[static_cast<size_t>(op)];
}

int64_t attention_scratch_elems(int64_t n_tokens, int64_t n_segments, int64_t n_heads,
                                int64_t head_dim) {
  return kAttentionCounters + n_tokens * n_segments * n_heads * (head_dim + 2);
}

int64_t n_work_units(Op op, const void* args) {
  return visit_args(op, args, [](const auto& typed) { return typed.rows(); });
}

}  // namespace olx::kernels
