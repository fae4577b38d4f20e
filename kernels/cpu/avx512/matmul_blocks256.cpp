#include "kernels/cpu/avx512/lanes.h"
#include "kernels/cpu/panel_block.h"

namespace olx::kernels::cpu {

OLX_BLOCKS256(OLX_MATMUL_PANELS, avx512)

}  // namespace olx::kernels::cpu
