#include "kernels/cpu/avx2/lanes.h"
#include "kernels/cpu/panel_block.h"

namespace olx::kernels::cpu {

OLX_BLOCKS32(OLX_MATMUL_PANELS, avx2)

}  // namespace olx::kernels::cpu
