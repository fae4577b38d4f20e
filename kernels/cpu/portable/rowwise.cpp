// The row operations of cpu/rowwise/ for this folder's instruction set.
#include "kernels/cpu/portable/simd.h"

#include "kernels/cpu/rowwise/elementwise.h"
#include "kernels/cpu/rowwise/kv_store.h"
#include "kernels/cpu/rowwise/top_k.h"

namespace olx::kernels::cpu {

void rms_norm_portable(const RmsNormArgs& args, RowRange range) { rms_norm(args, range); }
void rope_portable(const RopeArgs& args, RowRange range) { rope(args, range); }
void kv_store_f32_portable(const KvStoreArgs& args, RowRange range) { kv_store<PutF32>(args, range); }
void kv_store_f16_portable(const KvStoreArgs& args, RowRange range) { kv_store<PutF16>(args, range); }
void gated_activation_portable(const GatedActivationArgs& args, RowRange range) { gated_activation(args, range); }
void add_portable(const AddArgs& args, RowRange range) { add(args, range); }
void scale_portable(const ScaleArgs& args, RowRange range) { scale(args, range); }
void softcap_portable(const SoftcapArgs& args, RowRange range) { softcap(args, range); }
void softmax_portable(const SoftmaxArgs& args, RowRange range) { softmax(args, range); }
void top_k_portable(const TopKArgs& args, RowRange range) { top_k(args, range); }

}  // namespace olx::kernels::cpu
