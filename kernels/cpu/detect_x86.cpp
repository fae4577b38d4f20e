#include "kernels/cpu/features.h"

namespace olx::kernels::cpu {

// __builtin_cpu_supports also asks the operating system whether it saves the wide registers.
Features detect_features() {
  Features features = kFeatureNone;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c") &&
      __builtin_cpu_supports("bmi2"))
    features |= kFeatureAvx2;
  if ((features & kFeatureAvx2) && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vbmi"))
    features |= kFeatureAvx512;
  if ((features & kFeatureAvx512) && __builtin_cpu_supports("avx512vnni")) features |= kFeatureAvx512Vnni;
  return features;
}

}  // namespace olx::kernels::cpu
