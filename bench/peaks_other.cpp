#include "bench/isa/loops.h"
#include "bench/peaks.h"

namespace olx::bench {

std::vector<PeakLoop> peak_loops() {
  return {{"multiply + add", "f32", "portable", 0, 4 * 2.0 * isa::kChains, &isa::f32_portable}};
}

ReadLoop widest_read_loop() { return &isa::read_portable; }

}  // namespace olx::bench
