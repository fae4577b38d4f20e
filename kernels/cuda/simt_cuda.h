#pragma once
// The Simt policy (simt/simt.h) as a thread of an NVIDIA device, sm_75 and later. Compiled by nvcc
// alone.

#include <cuda_fp16.h>

#include "kernels/simt/device_thread.h"
#include "kernels/simt/tile.h"

namespace olx::kernels::cuda {

struct Thread : simt::DeviceThread<Thread, 32> {
  static constexpr unsigned kAll = 0xffffffffu;

  template <typename T>
  __device__ static T shuffle_xor(T x, int mask) {
    return __shfl_xor_sync(kAll, x, mask);
  }
  __device__ static uint64_t ballot(bool bit) { return __ballot_sync(kAll, bit); }
  __device__ static void wave_sync() { __syncwarp(); }
  __device__ static int32_t dot4(int32_t a, int32_t b, int32_t c) { return __dp4a(a, b, c); }

  // Products are volatile: all lanes come to each together, so none may move into a branch.
  using TileLayout = simt::TileLayoutMma;
  using Tile = simt::Tile<TileLayout>;
  __device__ static void multiply(const Tile::Rows& rows, const Tile::Cols& cols,
                                  Tile::Sums& sums) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    for (int i = 0; i < 2; ++i) {
      int32_t* c = sums.word + 4 * i;
      asm volatile(
          "mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 "
          "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
          : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
          : "r"(rows.word[0]), "r"(rows.word[1]), "r"(rows.word[2]), "r"(rows.word[3]),
            "r"(cols.word[2 * i]), "r"(cols.word[2 * i + 1]));
    }
#else
    for (int half = 0; half < 2; ++half) multiply_half(rows, cols, half, sums);
#endif
  }
  __device__ static void multiply_half(const Tile::Rows& rows, const Tile::Cols& cols, int half,
                                       Tile::Sums& sums) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    for (int i = 0; i < 2; ++i) {
      int32_t* c = sums.word + 4 * i;
      asm volatile(
          "mma.sync.aligned.m16n8k16.row.col.s32.s8.s8.s32 "
          "{%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
          : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
          : "r"(rows.word[2 * half]), "r"(rows.word[2 * half + 1]), "r"(cols.word[2 * i + half]));
    }
#else
    // m8n8k16 has the registers of a quarter of m16n8k32, so that sm_75 has the same layout.
    for (int i = 0; i < 4; ++i) {
      int32_t* c = sums.word + 2 * i;
      asm volatile("mma.sync.aligned.m8n8k16.row.col.s32.s8.s8.s32 {%0, %1}, {%2}, {%3}, {%0, %1};"
                   : "+r"(c[0]), "+r"(c[1])
                   : "r"(rows.word[i % 2 + 2 * half]), "r"(cols.word[i / 2 * 2 + half]));
    }
#endif
  }
  __device__ static void multiply_f16(const Tile::Rows& rows, const Tile::Cols& cols,
                                      Tile::Floats& sums) {
    for (int i = 0; i < 2; ++i) {
      float* c = sums.value + 4 * i;
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
      asm volatile(
          "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
          "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
          : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
          : "r"(rows.word[0]), "r"(rows.word[1]), "r"(rows.word[2]), "r"(rows.word[3]),
            "r"(cols.word[2 * i]), "r"(cols.word[2 * i + 1]));
#else
      for (int half = 0; half < 2; ++half)
        asm volatile(
            "mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 "
            "{%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
            : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
            : "r"(rows.word[2 * half]), "r"(rows.word[2 * half + 1]), "r"(cols.word[2 * i + half]));
#endif
    }
  }
};

static_assert(simt::Simt<Thread>);

}  // namespace olx::kernels::cuda
