#include "kernels/cpu/features.h"

namespace olx::kernels::cpu {

Features detect_features() { return kFeatureNone; }

}  // namespace olx::kernels::cpu
