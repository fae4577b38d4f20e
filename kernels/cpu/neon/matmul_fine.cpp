// Matmul with two int8 terms an activation.
#include "kernels/cpu/two_terms.h"

namespace olx::kernels::cpu {

OLX_TWO_TERMS_OF_ALL_TYPES(neon)

}  // namespace olx::kernels::cpu
