#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kernels/cpu/features.h"
#include "kernels/cpu/memory_streams.h"

namespace olx::kernels::cpu {
namespace {

// Clang 14 does not know "f16c" in __builtin_cpu_supports: leaf 1, ECX bit 29.
bool has_f16c() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  return __get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0 && (ecx >> 29 & 1) != 0;
}

// Leaf 7, part 1, EAX: bit 4. GCC 12 does not know its name.
bool has_avxvnni() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  return __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) != 0 && (eax >> 4 & 1) != 0;
}

// Linux keeps the tiles' 8 KiB of registers from a process until it asks for them; threads made later may use them too.
// Numbers of arch_prctl(2): ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA.
bool may_use_tiles() { return ::syscall(SYS_arch_prctl, 0x1023, 18) == 0; }

// Leaf 7, EDX: bit 22 AMX-BF16, bit 24 AMX-TILE, bit 25 AMX-INT8; part 1, EAX: bit 5 AVX512-BF16. GCC 12 does not know the first names.
bool has_amx() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  constexpr unsigned kBits = 1u << 22 | 1u << 24 | 1u << 25;
  if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) == 0 || (edx & kBits) != kBits) return false;
  return __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) != 0 && (eax >> 5 & 1) != 0 && may_use_tiles();
}

}  // namespace

// __builtin_cpu_supports also asks the operating system whether it saves the wide registers.
Features detect_features() {
  Features features = kFeatureNone;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c() &&
      __builtin_cpu_supports("bmi2"))
    features |= kFeatureAvx2;
  if ((features & kFeatureAvx2) && has_avxvnni()) features |= kFeatureAvxVnni;
  if ((features & kFeatureAvx2) && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vbmi"))
    features |= kFeatureAvx512;
  if ((features & kFeatureAvx512) && __builtin_cpu_supports("avx512vnni")) features |= kFeatureAvx512Vnni;
  if ((features & kFeatureAvx512Vnni) && has_amx()) features |= kFeatureAmx;
  return features;
}

const bool kMemoryPrefersStreams = __builtin_cpu_is("intel") != 0;

}  // namespace olx::kernels::cpu
