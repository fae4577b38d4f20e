#include "kernels/cpu/avx512/panel_dot.h"

namespace olx::kernels::cpu {

void matmul_q2_k_avx512(const MatmulArgs& args, RowRange range) { matmul_panels<Q2_K>(args, range); }
void matmul_q3_k_avx512(const MatmulArgs& args, RowRange range) { matmul_panels<Q3_K>(args, range); }
void matmul_q4_k_avx512(const MatmulArgs& args, RowRange range) { matmul_panels<Q4_K>(args, range); }
void matmul_q5_k_avx512(const MatmulArgs& args, RowRange range) { matmul_panels<Q5_K>(args, range); }
void matmul_q6_k_avx512(const MatmulArgs& args, RowRange range) { matmul_panels<Q6_K>(args, range); }
void matmul_iq4_xs_avx512(const MatmulArgs& args, RowRange range) { matmul_panels<IQ4_XS>(args, range); }

}  // namespace olx::kernels::cpu
