#include "kernels/cpu/avx512/lanes.h"
#include "kernels/cpu/panel_block.h"

namespace olx::kernels::cpu {

OLX_MATMUL_PANELS(q2_k, Q2_K, avx512)
OLX_MATMUL_PANELS(q3_k, Q3_K, avx512)
OLX_MATMUL_PANELS(q4_k, Q4_K, avx512)
OLX_MATMUL_PANELS(q5_k, Q5_K, avx512)
OLX_MATMUL_PANELS(q6_k, Q6_K, avx512)
OLX_MATMUL_PANELS(iq4_xs, IQ4_XS, avx512)

}  // namespace olx::kernels::cpu
