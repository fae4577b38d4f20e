#include "kernels/host_simt/tile_product.h"

#include "kernels/simt/simt.h"

namespace olx::kernels::host_simt {
namespace {

int32_t byte_of(uint32_t word, int i) { return static_cast<int8_t>(word >> (8 * i)); }

}  // namespace

void multiply_as_mma(uint32_t* words, int, int) {
  int32_t a[16][32], b[32][16], c[16][16] = {};
  for (int lane = 0; lane < 32; ++lane) {
    const uint32_t* mine = words + lane * simt::kMaxReduce;
    const int group = lane / 4, in_group = lane % 4;
    for (int i = 0; i < 16; ++i) {
      const int row = i < 4 || (i >= 8 && i < 12) ? group : group + 8;
      const int col = i < 8 ? in_group * 4 + (i & 3) : in_group * 4 + (i & 3) + 16;
      a[row][col] = byte_of(mine[i / 4], i % 4);
    }
    for (int which = 0; which < 2; ++which)
      for (int i = 0; i < 8; ++i) {
        const int row = i < 4 ? in_group * 4 + (i & 3) : in_group * 4 + (i & 3) + 16;
        b[row][8 * which + group] = byte_of(mine[4 + 2 * which + i / 4], i % 4);
      }
  }
  for (int i = 0; i < 16; ++i)
    for (int k = 0; k < 32; ++k)
      for (int j = 0; j < 16; ++j) c[i][j] += a[i][k] * b[k][j];
  for (int lane = 0; lane < 32; ++lane)
    for (int which = 0; which < 2; ++which)
      for (int i = 0; i < 4; ++i) {
        const int row = i < 2 ? lane / 4 : lane / 4 + 8, col = lane % 4 * 2 + (i & 1);
        words[lane * simt::kMaxReduce + 4 * which + i] =
            static_cast<uint32_t>(c[row][8 * which + col]);
      }
}

void multiply_as_mfma(uint32_t* words, int, int) {
  int32_t d[16][16] = {};
  for (int which = 0; which < 2; ++which) {
    int32_t a[16][16], b[16][16];
    for (int lane = 0; lane < 64; ++lane)
      for (int i = 0; i < 4; ++i) {
        const int k = 4 * (lane / 16) + i;
        a[lane % 16][k] = byte_of(words[lane * simt::kMaxReduce + which], i);
        b[k][lane % 16] = byte_of(words[lane * simt::kMaxReduce + 2 + which], i);
      }
    for (int i = 0; i < 16; ++i)
      for (int k = 0; k < 16; ++k)
        for (int j = 0; j < 16; ++j) d[i][j] += a[i][k] * b[k][j];
  }
  for (int lane = 0; lane < 64; ++lane)
    for (int i = 0; i < 4; ++i)
      words[lane * simt::kMaxReduce + i] = static_cast<uint32_t>(d[4 * (lane / 16) + i][lane % 16]);
}

}  // namespace olx::kernels::host_simt
