#include "kernels/cpu/avxvnni/lanes.h"
#include "kernels/cpu/panel_block.h"

namespace olx::kernels::cpu {

OLX_BLOCKS32(OLX_MATMUL_PANELS, avxvnni)

}  // namespace olx::kernels::cpu
