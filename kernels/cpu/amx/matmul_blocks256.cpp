#include "kernels/cpu/amx/panel_tiles.h"

namespace olx::kernels::cpu {

OLX_MATMUL_TILES(q2_k, Q2_K)
OLX_MATMUL_TILES(q3_k, Q3_K)
OLX_MATMUL_TILES(q4_k, Q4_K)
OLX_MATMUL_TILES(q5_k, Q5_K)
OLX_MATMUL_TILES(q6_k, Q6_K)
OLX_MATMUL_TILES(iq4_xs, IQ4_XS)

}  // namespace olx::kernels::cpu
