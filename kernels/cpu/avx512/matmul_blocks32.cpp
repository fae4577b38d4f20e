#include "kernels/cpu/avx512/lanes.h"
#include "kernels/cpu/panel_block.h"

namespace olx::kernels::cpu {

OLX_MATMUL_PANELS(q4_0, Q4_0, avx512)
OLX_MATMUL_PANELS(q4_1, Q4_1, avx512)
OLX_MATMUL_PANELS(q5_0, Q5_0, avx512)
OLX_MATMUL_PANELS(q5_1, Q5_1, avx512)
OLX_MATMUL_PANELS(q8_0, Q8_0, avx512)
OLX_MATMUL_PANELS(iq4_nl, IQ4_NL, avx512)
OLX_MATMUL_PANELS(mxfp4, MXFP4, avx512)

}  // namespace olx::kernels::cpu
