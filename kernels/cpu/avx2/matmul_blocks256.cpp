#include "kernels/cpu/avx2/panel_block.h"

namespace olx::kernels::cpu {

void matmul_q2_k_avx2(const MatmulArgs& args, RowRange range) { matmul_panels<Q2_K>(args, range); }
void matmul_q3_k_avx2(const MatmulArgs& args, RowRange range) { matmul_panels<Q3_K>(args, range); }
void matmul_q4_k_avx2(const MatmulArgs& args, RowRange range) { matmul_panels<Q4_K>(args, range); }
void matmul_q5_k_avx2(const MatmulArgs& args, RowRange range) { matmul_panels<Q5_K>(args, range); }
void matmul_q6_k_avx2(const MatmulArgs& args, RowRange range) { matmul_panels<Q6_K>(args, range); }
void matmul_iq4_xs_avx2(const MatmulArgs& args, RowRange range) { matmul_panels<IQ4_XS>(args, range); }

void matmul_q2_k_avx2_fine(const MatmulArgs& args, RowRange range) { matmul_panels<Q2_K, 2>(args, range); }
void matmul_q3_k_avx2_fine(const MatmulArgs& args, RowRange range) { matmul_panels<Q3_K, 2>(args, range); }
void matmul_q4_k_avx2_fine(const MatmulArgs& args, RowRange range) { matmul_panels<Q4_K, 2>(args, range); }
void matmul_q5_k_avx2_fine(const MatmulArgs& args, RowRange range) { matmul_panels<Q5_K, 2>(args, range); }
void matmul_q6_k_avx2_fine(const MatmulArgs& args, RowRange range) { matmul_panels<Q6_K, 2>(args, range); }
void matmul_iq4_xs_avx2_fine(const MatmulArgs& args, RowRange range) { matmul_panels<IQ4_XS, 2>(args, range); }

}  // namespace olx::kernels::cpu
