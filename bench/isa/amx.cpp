// Four products of tiles a step: 2 x 2 tiles of sums, which is what a matmul would keep in the eight registers.
#include <immintrin.h>

#include "bench/isa/loops.h"

namespace olx::bench::isa {
namespace {

struct alignas(64) TileConfig {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};
};

__attribute__((always_inline)) inline void configure() {
  TileConfig config;
  for (int i = 0; i < 8; ++i) {
    config.row_bytes[i] = 64;
    config.rows[i] = 16;
  }
  asm volatile("" ::"r"(&config) : "memory");  // GCC 12 takes the intrinsic to read 8 bytes, and drops the other stores
  _tile_loadconfig(&config);
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  _tile_zero(4);
  _tile_zero(5);
  _tile_zero(6);
  _tile_zero(7);
}

}  // namespace

void int8_amx(int64_t n_steps) {
  configure();
  for (int64_t step = 0; step < n_steps; ++step) {
    _tile_dpbusd(0, 4, 6);
    _tile_dpbusd(1, 4, 7);
    _tile_dpbusd(2, 5, 6);
    _tile_dpbusd(3, 5, 7);
  }
  _tile_release();
}

void bf16_amx(int64_t n_steps) {
  configure();
  for (int64_t step = 0; step < n_steps; ++step) {
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  _tile_release();
}

}  // namespace olx::bench::isa
