// Asked of the processor; for the tiles of AMX the system has to be asked too, once a process.
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bench/isa/loops.h"
#include "bench/peaks.h"

namespace olx::bench {
namespace {

using kernels::kFeatureAvx2;
using kernels::kFeatureAvx512;
using kernels::kFeatureAvx512Vnni;
using kernels::kFeatureAvxVnni;

struct Leaf {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
};

Leaf leaf7(unsigned part) {
  Leaf leaf;
  __get_cpuid_count(7, part, &leaf.eax, &leaf.ebx, &leaf.ecx, &leaf.edx);
  return leaf;
}

bool has_avx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }
bool has_avx512() { return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vnni"); }
bool has_avxvnni() { return has_avx2() && (leaf7(1).eax >> 4 & 1) != 0; }

// Linux keeps tiles from a process until it asks (Documentation/arch/x86/xstate.rst).
bool may_use_tiles() {
  constexpr long kRequestPermission = 0x1023, kTileData = 18;
  return (leaf7(0).edx >> 24 & 1) != 0 && ::syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

}  // namespace

std::vector<PeakLoop> peak_loops() {
  constexpr double kOps = 2.0 * isa::kChains, kTileOps = 2.0 * 16 * 16 * isa::kTileChains;
  std::vector<PeakLoop> loops{{"mulps + addps xmm", "f32", "portable", 0, 4 * kOps, &isa::f32_portable}};
  if (has_avx2()) {
    loops.push_back({"vfmadd ymm", "f32", "avx2", kFeatureAvx2, 8 * kOps, &isa::f32_avx2});
    loops.push_back({"vpmaddubsw + vpmaddwd + vpaddd ymm", "int8", "avx2", kFeatureAvx2, 32 * kOps, &isa::int8_avx2});
  }
  if (has_avxvnni())
    loops.push_back({"vpdpbusd ymm", "int8", "avxvnni", kFeatureAvx2 | kFeatureAvxVnni, 32 * kOps, &isa::int8_avxvnni});
  if (has_avx512()) {
    loops.push_back({"vfmadd zmm", "f32", "avx512", kFeatureAvx512, 16 * kOps, &isa::f32_avx512});
    loops.push_back({"vpdpbusd zmm", "int8", "avx512", kFeatureAvx512 | kFeatureAvx512Vnni, 64 * kOps, &isa::int8_avx512vnni});
  }
  if (may_use_tiles()) {
    if ((leaf7(0).edx >> 25 & 1) != 0) loops.push_back({"tdpbusd", "int8", "amx", 0, 64 * kTileOps, &isa::int8_amx});
    if ((leaf7(0).edx >> 22 & 1) != 0) loops.push_back({"tdpbf16ps", "bf16", "amx", 0, 32 * kTileOps, &isa::bf16_amx});
  }
  return loops;
}

ReadLoop widest_read_loop() {
  if (has_avx512()) return &isa::read_avx512;
  return has_avx2() ? &isa::read_avx2 : &isa::read_portable;
}

}  // namespace olx::bench
