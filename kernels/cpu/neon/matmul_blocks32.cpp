#include "kernels/cpu/neon/lanes.h"
#include "kernels/cpu/panel_block.h"

namespace olx::kernels::cpu {

OLX_BLOCKS32(OLX_MATMUL_PANELS, neon)

}  // namespace olx::kernels::cpu
