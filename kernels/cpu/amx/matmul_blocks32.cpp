#include "kernels/cpu/amx/panel_tiles.h"

namespace olx::kernels::cpu {

OLX_MATMUL_TILES(q4_0, Q4_0)
OLX_MATMUL_TILES(q4_1, Q4_1)
OLX_MATMUL_TILES(q5_0, Q5_0)
OLX_MATMUL_TILES(q5_1, Q5_1)
OLX_MATMUL_TILES(q8_0, Q8_0)
OLX_MATMUL_TILES(iq4_nl, IQ4_NL)
OLX_MATMUL_TILES(mxfp4, MXFP4)

}  // namespace olx::kernels::cpu
