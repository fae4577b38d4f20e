#include "kernels/cpu/avx2/panel_block.h"

namespace olx::kernels::cpu {

void matmul_q4_0_avx2(const MatmulArgs& args, RowRange range) { matmul_panels<Q4_0>(args, range); }
void matmul_q4_1_avx2(const MatmulArgs& args, RowRange range) { matmul_panels<Q4_1>(args, range); }
void matmul_q5_0_avx2(const MatmulArgs& args, RowRange range) { matmul_panels<Q5_0>(args, range); }
void matmul_q5_1_avx2(const MatmulArgs& args, RowRange range) { matmul_panels<Q5_1>(args, range); }
void matmul_q8_0_avx2(const MatmulArgs& args, RowRange range) { matmul_panels<Q8_0>(args, range); }
void matmul_iq4_nl_avx2(const MatmulArgs& args, RowRange range) { matmul_panels<IQ4_NL>(args, range); }
void matmul_mxfp4_avx2(const MatmulArgs& args, RowRange range) { matmul_panels<MXFP4>(args, range); }

void matmul_q4_0_avx2_fine(const MatmulArgs& args, RowRange range) { matmul_panels<Q4_0, 2>(args, range); }
void matmul_q4_1_avx2_fine(const MatmulArgs& args, RowRange range) { matmul_panels<Q4_1, 2>(args, range); }
void matmul_q5_0_avx2_fine(const MatmulArgs& args, RowRange range) { matmul_panels<Q5_0, 2>(args, range); }
void matmul_q5_1_avx2_fine(const MatmulArgs& args, RowRange range) { matmul_panels<Q5_1, 2>(args, range); }
void matmul_q8_0_avx2_fine(const MatmulArgs& args, RowRange range) { matmul_panels<Q8_0, 2>(args, range); }
void matmul_iq4_nl_avx2_fine(const MatmulArgs& args, RowRange range) { matmul_panels<IQ4_NL, 2>(args, range); }
void matmul_mxfp4_avx2_fine(const MatmulArgs& args, RowRange range) { matmul_panels<MXFP4, 2>(args, range); }

}  // namespace olx::kernels::cpu
