// The row operations of cpu/rowwise/ for this folder's instruction set.
#include "kernels/cpu/neon/simd.h"

#include "kernels/cpu/rowwise/elementwise.h"
#include "kernels/cpu/rowwise/kv_store.h"
#include "kernels/cpu/rowwise/top_k.h"

namespace olx::kernels::cpu {

void rms_norm_neon(const RmsNormArgs& args, RowRange range) { rms_norm(args, range); }
void rope_neon(const RopeArgs& args, RowRange range) { rope(args, range); }
void kv_store_f32_neon(const KvStoreArgs& args, RowRange range) { kv_store<PutF32>(args, range); }
void kv_store_f16_neon(const KvStoreArgs& args, RowRange range) { kv_store<PutF16>(args, range); }
void gated_activation_neon(const GatedActivationArgs& args, RowRange range) { gated_activation(args, range); }
void add_neon(const AddArgs& args, RowRange range) { add(args, range); }
void scale_neon(const ScaleArgs& args, RowRange range) { scale(args, range); }
void softcap_neon(const SoftcapArgs& args, RowRange range) { softcap(args, range); }
void softmax_neon(const SoftmaxArgs& args, RowRange range) { softmax(args, range); }
void top_k_neon(const TopKArgs& args, RowRange range) { top_k(args, range); }

}  // namespace olx::kernels::cpu
