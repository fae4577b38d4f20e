// Four products of tiles a step: 2 x 2 tiles of sums, which is what a matmul would keep in the eight registers.
#include <immintrin.h>

#include "bench/isa/loops.h"
#include "kernels/cpu/amx/tiles.h"

namespace olx::bench::isa {
void int8_amx(int64_t n_steps) {
  const kernels::cpu::TileRegisters tiles;  // all 0
  for (int64_t step = 0; step < n_steps; ++step) {
    _tile_dpbusd(0, 4, 6);
    _tile_dpbusd(1, 4, 7);
    _tile_dpbusd(2, 5, 6);
    _tile_dpbusd(3, 5, 7);
  }
}

void bf16_amx(int64_t n_steps) {
  const kernels::cpu::TileRegisters tiles;  // all 0
  for (int64_t step = 0; step < n_steps; ++step) {
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
}

}  // namespace olx::bench::isa
