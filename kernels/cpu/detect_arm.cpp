#include <asm/hwcap.h>
#include <sys/auxv.h>

#include "kernels/cpu/features.h"

namespace olx::kernels::cpu {

Features detect_features() {
  const unsigned long caps = ::getauxval(AT_HWCAP);
  if (!(caps & HWCAP_ASIMDDP) || !(caps & HWCAP_ASIMDHP)) return kFeatureNone;
  return ::getauxval(AT_HWCAP2) & HWCAP2_I8MM ? kFeatureNeonDot | kFeatureNeonI8mm : kFeatureNeonDot;
}

}  // namespace olx::kernels::cpu
