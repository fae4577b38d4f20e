#include <asm/hwcap.h>
#include <sys/auxv.h>

#include "kernels/cpu/features.h"

namespace olx::kernels::cpu {

Features detect_features() {
  const unsigned long caps = ::getauxval(AT_HWCAP);
  return (caps & HWCAP_ASIMDDP) && (caps & HWCAP_ASIMDHP) ? kFeatureNeonDot : kFeatureNone;
}

}  // namespace olx::kernels::cpu
