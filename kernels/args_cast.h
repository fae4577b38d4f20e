#pragma once
// From a run-time Op and a void* to the op's Args struct: the one switch over ops. Used by registry code, the reference
// oracle and tests; kernels get their Args typed already.

#include "gguf/check.h"
#include "kernels/api/args.h"

namespace olx::kernels {

// visitor(const <Op>Args&) for each op; all must return one type.
template <typename Visitor>
decltype(auto) visit_args(Op op, const void* args, Visitor&& visitor) {
  switch (op) {
    case Op::kEmbed: return visitor(*static_cast<const EmbedArgs*>(args));
    case Op::kQuantize: return visitor(*static_cast<const QuantizeArgs*>(args));
    case Op::kMatmul: return visitor(*static_cast<const MatmulArgs*>(args));
    case Op::kRmsNorm: return visitor(*static_cast<const RmsNormArgs*>(args));
    case Op::kRopeTable: return visitor(*static_cast<const RopeTableArgs*>(args));
    case Op::kRope: return visitor(*static_cast<const RopeArgs*>(args));
    case Op::kKvStore: return visitor(*static_cast<const KvStoreArgs*>(args));
    case Op::kAttention: return visitor(*static_cast<const AttentionArgs*>(args));
    case Op::kGatedActivation: return visitor(*static_cast<const GatedActivationArgs*>(args));
    case Op::kAdd: return visitor(*static_cast<const AddArgs*>(args));
    case Op::kScale: return visitor(*static_cast<const ScaleArgs*>(args));
    case Op::kSoftcap: return visitor(*static_cast<const SoftcapArgs*>(args));
    case Op::kSoftmax: return visitor(*static_cast<const SoftmaxArgs*>(args));
    case Op::kGatedMatmul: return visitor(*static_cast<const GatedMatmulArgs*>(args));
    case Op::kQkvMatmul: return visitor(*static_cast<const QkvMatmulArgs*>(args));
    case Op::kTopK: return visitor(*static_cast<const TopKArgs*>(args));
    case Op::kQkvStore: return visitor(*static_cast<const QkvStoreArgs*>(args));
    case Op::kRmsNormAdd: return visitor(*static_cast<const RmsNormAddArgs*>(args));
  }
  OLX_CHECK(false);
  __builtin_unreachable();
}

}  // namespace olx::kernels
