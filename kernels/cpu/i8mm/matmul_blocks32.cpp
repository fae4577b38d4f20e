#include "kernels/cpu/i8mm/lanes.h"
#include "kernels/cpu/panel_block.h"

namespace olx::kernels::cpu {

OLX_BLOCKS32(OLX_MATMUL_PANELS, i8mm)

}  // namespace olx::kernels::cpu
