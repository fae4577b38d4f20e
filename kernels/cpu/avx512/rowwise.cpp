// The row operations of cpu/rowwise/ for this folder's instruction set.
#include "kernels/cpu/avx512/simd.h"

#include "kernels/cpu/rowwise/elementwise.h"
#include "kernels/cpu/rowwise/kv_store.h"
#include "kernels/cpu/rowwise/top_k.h"

namespace olx::kernels::cpu {

void rms_norm_avx512(const RmsNormArgs& args, RowRange range) { rms_norm(args, range); }
void rope_avx512(const RopeArgs& args, RowRange range) { rope(args, range); }
void kv_store_f32_avx512(const KvStoreArgs& args, RowRange range) { kv_store<PutF32>(args, range); }
void kv_store_f16_avx512(const KvStoreArgs& args, RowRange range) { kv_store<PutF16>(args, range); }
void gated_activation_avx512(const GatedActivationArgs& args, RowRange range) { gated_activation(args, range); }
void add_avx512(const AddArgs& args, RowRange range) { add(args, range); }
void scale_avx512(const ScaleArgs& args, RowRange range) { scale(args, range); }
void softcap_avx512(const SoftcapArgs& args, RowRange range) { softcap(args, range); }
void softmax_avx512(const SoftmaxArgs& args, RowRange range) { softmax(args, range); }
void top_k_avx512(const TopKArgs& args, RowRange range) { top_k(args, range); }

}  // namespace olx::kernels::cpu
