// Attention with AMX tiles for prompts.
#include "kernels/cpu/avx512/simd.h"

#include "kernels/cpu/rowwise/elementwise.h"
#include "kernels/cpu/rowwise/attention.h"

#include "kernels/cpu/amx/attention_tiles.h"

namespace olx::kernels::cpu {

void attention_f16_avx512(const AttentionArgs& args, RowRange range);
void attention_q8_0_avx512(const AttentionArgs& args, RowRange range);

void attention_f16_amx(const AttentionArgs& args, RowRange range) { attention_tiles<RowF16, attention_f16_avx512>(args, range); }
void attention_q8_0_amx(const AttentionArgs& args, RowRange range) { attention_tiles<RowQ8_0, attention_q8_0_avx512>(args, range); }

}  // namespace olx::kernels::cpu
