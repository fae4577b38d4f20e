#include "kernels/cpu/amx/panel_tiles.h"

namespace olx::kernels::cpu {

OLX_BLOCKS32(OLX_MATMUL_TILES, avx512)

}  // namespace olx::kernels::cpu
