// Attention of cpu/rowwise/ for this folder's instruction set.
#include "kernels/cpu/neon/simd.h"

#include "kernels/cpu/rowwise/elementwise.h"
#include "kernels/cpu/rowwise/attention.h"

namespace olx::kernels::cpu {

void attention_f32_neon(const AttentionArgs& args, RowRange range) { attention<RowF32>(args, range); }
void attention_f16_neon(const AttentionArgs& args, RowRange range) { attention<RowF16>(args, range); }
void attention_q8_0_neon(const AttentionArgs& args, RowRange range) { attention<RowQ8_0>(args, range); }

}  // namespace olx::kernels::cpu
