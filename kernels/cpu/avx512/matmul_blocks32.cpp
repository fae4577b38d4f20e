#include "kernels/cpu/avx512/panel_dot.h"

namespace olx::kernels::cpu {

void matmul_q4_0_avx512(const MatmulArgs& args, RowRange range) { matmul_panels<Q4_0>(args, range); }
void matmul_q4_1_avx512(const MatmulArgs& args, RowRange range) { matmul_panels<Q4_1>(args, range); }
void matmul_q5_0_avx512(const MatmulArgs& args, RowRange range) { matmul_panels<Q5_0>(args, range); }
void matmul_q5_1_avx512(const MatmulArgs& args, RowRange range) { matmul_panels<Q5_1>(args, range); }
void matmul_q8_0_avx512(const MatmulArgs& args, RowRange range) { matmul_panels<Q8_0>(args, range); }
void matmul_iq4_nl_avx512(const MatmulArgs& args, RowRange range) { matmul_panels<IQ4_NL>(args, range); }
void matmul_mxfp4_avx512(const MatmulArgs& args, RowRange range) { matmul_panels<MXFP4>(args, range); }

}  // namespace olx::kernels::cpu
