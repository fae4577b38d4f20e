#include "kernels/cpu/amx/panel_tiles.h"

namespace olx::kernels::cpu {

OLX_BLOCKS256(OLX_MATMUL_TILES, avx512)

}  // namespace olx::kernels::cpu
