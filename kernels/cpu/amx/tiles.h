#pragma once
// What the kernels on AMX tiles share. Internal linkage.
//
// A product of tiles adds to 16 x 16 f32 sums [m][n] the products of 16 rows [m][32] of bfloat16 with 32 columns of the other
// factor, which lies in pairs: [16][n][2], row r holding columns 2 r and 2 r + 1 of its 16 rows.

#include <immintrin.h>

#include <cstdint>

namespace olx::kernels::cpu {
namespace {

constexpr int64_t kTileBytes = 1024;
constexpr int64_t kTileCols = 32;  // columns of either factor that a tile holds, as bfloat16

struct alignas(64) TileConfig {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t n_rows[16] = {};
};

// The compiler does not know that a tile load reads memory, nor, with GCC 12, that _tile_loadconfig reads more than 8 bytes.
inline void publish(const void* written) { asm volatile("" : : "r"(written) : "memory"); }

// Fetches a line to the second cache level, in the order of the program. Past what is there it is a hint about nothing.
inline void fetch_to_second_level(const uint8_t* p) { asm volatile("prefetcht1 %0" : : "m"(*p)); }

// The tiles of a call: all eight of 16 rows of 64 bytes if it says nothing else. The system saves tiles at every switch while
// they are in use: they are given back when a call ends.
struct TileRegisters {
  explicit TileRegisters(const TileConfig& config = whole_tiles()) {
    publish(&config);
    _tile_loadconfig(&config);
  }
  ~TileRegisters() { _tile_release(); }
  TileRegisters(const TileRegisters&) = delete;
  TileRegisters& operator=(const TileRegisters&) = delete;

  static TileConfig whole_tiles() {
    TileConfig config;
    for (int i = 0; i < 8; ++i) {
      config.row_bytes[i] = 64;
      config.n_rows[i] = 16;
    }
    return config;
  }
};

// Nearest bfloat16 of two vectors, side by side: `even` in the low halves.
inline __m512i bf16_pairs(__m512 even, __m512 odd) {
  const __m512i half = _mm512_set1_epi32(0x8000);
  const __m512i low = _mm512_add_epi32(_mm512_castps_si512(even), half), high = _mm512_add_epi32(_mm512_castps_si512(odd), half);
  const __m512i halves_down = _mm512_broadcast_i32x4(_mm_setr_epi8(2, 3, 2, 3, 6, 7, 6, 7, 10, 11, 10, 11, 14, 15, 14, 15));
  return _mm512_mask_shuffle_epi8(high, 0x3333333333333333, low, halves_down);
}

// Tiles 0 to 3 are sums, 2 x 2 of them or fewer: 1 is 256 numbers behind 0, 2 and 3 are `stride` numbers behind 0 and 1.
template <bool kHasOne, bool kHasTwo>
inline void load_sums(const float* sums, int64_t stride, bool is_first) {
  if (is_first) {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    return;
  }
  _tile_loadd(0, sums, 64);
  if constexpr (kHasOne) _tile_loadd(1, sums + 256, 64);
  if constexpr (kHasTwo) _tile_loadd(2, sums + stride, 64);
  if constexpr (kHasOne && kHasTwo) _tile_loadd(3, sums + stride + 256, 64);
}
template <bool kHasOne, bool kHasTwo>
inline void store_sums(float* sums, int64_t stride) {
  _tile_stored(0, sums, 64);
  if constexpr (kHasOne) _tile_stored(1, sums + 256, 64);
  if constexpr (kHasTwo) _tile_stored(2, sums + stride, 64);
  if constexpr (kHasOne && kHasTwo) _tile_stored(3, sums + stride + 256, 64);
}

}  // namespace
}  // namespace olx::kernels::cpu
