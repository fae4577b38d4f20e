#include <cpuid.h>

#include "kernels/cpu/features.h"

namespace olx::kernels::cpu {
namespace {

// Clang 14 does not know "f16c" in __builtin_cpu_supports: leaf 1, ECX bit 29.
bool has_f16c() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  return __get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0 && (ecx >> 29 & 1) != 0;
}

}  // namespace

// __builtin_cpu_supports also asks the operating system whether it saves the wide registers.
Features detect_features() {
  Features features = kFeatureNone;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c() &&
      __builtin_cpu_supports("bmi2"))
    features |= kFeatureAvx2;
  if ((features & kFeatureAvx2) && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vbmi"))
    features |= kFeatureAvx512;
  if ((features & kFeatureAvx512) && __builtin_cpu_supports("avx512vnni")) features |= kFeatureAvx512Vnni;
  return features;
}

}  // namespace olx::kernels::cpu
