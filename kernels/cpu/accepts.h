#pragma once
// Predicates the rows of this backend name: which arguments a kernel cannot take. Compiled with baseline flags.

#include "kernels/api/args.h"
#include "kernels/cpu/rowwise/limits.h"

namespace olx::kernels::cpu {

template <int kLanes>
bool accepts_heads_of(const AttentionArgs& args) {
  return args.kv.head_dim <= kMaxHeadDim && args.kv.head_dim % kLanes == 0 && args.n_heads / args.kv.n_kv_heads <= kMaxQueries &&
         args.n_heads / args.kv.n_kv_heads * args.kv.head_dim <= kMaxTileElems;
}
constexpr auto accepts_heads_of_32 = accepts_heads_of<32>;
constexpr auto accepts_heads_of_16 = accepts_heads_of<16>;
constexpr auto accepts_heads_of_8 = accepts_heads_of<8>;
constexpr auto accepts_heads_of_4 = accepts_heads_of<4>;
constexpr auto accepts_heads_of_1 = accepts_heads_of<1>;

inline bool accepts_all_but_erf(const GatedActivationArgs& args) { return args.activation != Activation::kGeluErf; }

}  // namespace olx::kernels::cpu
