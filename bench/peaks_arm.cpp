#include <asm/hwcap.h>
#include <sys/auxv.h>

#include "bench/isa/loops.h"
#include "bench/peaks.h"

namespace olx::bench {

std::vector<PeakLoop> peak_loops() {
  constexpr double kOps = 2.0 * isa::kChains;
  std::vector<PeakLoop> loops{{"fmul + fadd 4s", "f32", "portable", 0, 4 * kOps, &isa::f32_portable}};
  if ((::getauxval(AT_HWCAP) & HWCAP_ASIMDDP) == 0) return loops;
  loops.push_back({"fmla 4s", "f32", "neon", kernels::kFeatureNeonDot, 4 * kOps, &isa::f32_neon});
  loops.push_back({"sdot 16b", "int8", "neon", kernels::kFeatureNeonDot, 16 * kOps, &isa::int8_neondot});
  if (::getauxval(AT_HWCAP2) & HWCAP2_I8MM)
    loops.push_back({"smmla 16b", "int8", "i8mm", kernels::kFeatureNeonDot | kernels::kFeatureNeonI8mm, 32 * kOps,
                     &isa::int8_i8mm});
  return loops;
}

ReadLoop widest_read_loop() { return &isa::read_portable; }

}  // namespace olx::bench
