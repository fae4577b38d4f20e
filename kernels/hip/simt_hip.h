#pragma once
// The Simt policy (simt/simt.h) as a thread of an AMD device, compiled for one architecture at a
// time by clang: gfx906 and later with v_dot4, RDNA3 (gfx11) with the form that names the signs.
// Waves have 64 lanes on gfx9 and 32 after it.

#include <hip/hip_fp16.h>
#include <hip/hip_runtime.h>

#include "kernels/simt/device_thread.h"
#include "kernels/simt/tile.h"

namespace olx::kernels::hip {

// What multiplies matrices: nothing, MFMA of 16 columns (gfx908, gfx90a) or of 32 (gfx940), WMMA.
enum class MatrixUnit { kNone, kMfma16, kMfma32, kWmma };

template <MatrixUnit unit, int kWaveSize>
struct LayoutOf {
  using Type = simt::TileLayoutMfma;
};
template <int kWaveSize>
struct LayoutOf<MatrixUnit::kNone, kWaveSize> {
  using Type = simt::TileLayoutDot4<kWaveSize>;
};
template <int kWaveSize>
struct LayoutOf<MatrixUnit::kWmma, kWaveSize> {
  using Type = simt::TileLayoutWmma;
};

// kHasSignedDot: v_dot4_i32_i8; without it v_dot4_i32_iu8.
template <int kWaveSize, bool kHasSignedDot, MatrixUnit unit>
struct Thread : simt::DeviceThread<Thread<kWaveSize, kHasSignedDot, unit>, kWaveSize> {
  template <typename T>
  __device__ static T shuffle_xor(T x, int mask) {
    return __shfl_xor(x, mask, kWaveSize);
  }
  __device__ static uint64_t ballot(bool bit) { return __ballot(bit); }
  // The lanes of a wave run in step; only the compiler has to keep the order.
  __device__ static void wave_sync() {
    __builtin_amdgcn_fence(__ATOMIC_ACQ_REL, "wavefront");
    __builtin_amdgcn_wave_barrier();
  }
  __device__ static int32_t dot4(int32_t a, int32_t b, int32_t c) {
    if constexpr (kHasSignedDot)
      return __builtin_amdgcn_sdot4(a, b, c, false);
    else
      return __builtin_amdgcn_sudot4(true, a, true, b, c, false);
  }

  using TileLayout = typename LayoutOf<unit, kWaveSize>::Type;
  using Tile = simt::Tile<TileLayout>;
  typedef int Int4 __attribute__((ext_vector_type(4)));
  typedef int Int8 __attribute__((ext_vector_type(8)));
  typedef float Float4 __attribute__((ext_vector_type(4)));
  typedef float Float8 __attribute__((ext_vector_type(8)));
  typedef _Float16 Half2 __attribute__((ext_vector_type(2)));
  typedef _Float16 Half4 __attribute__((ext_vector_type(4)));
  typedef _Float16 Half16 __attribute__((ext_vector_type(16)));

  __device__ static void multiply(const typename Tile::Rows& rows, const typename Tile::Cols& cols,
                                  typename Tile::Sums& sums) {
    if constexpr (unit == MatrixUnit::kNone) {
      simt::multiply_by_dot4<Thread>(rows, cols, 0, 8, sums);
    } else if constexpr (unit == MatrixUnit::kMfma32) {
      // It wants columns 8 i .. 8 i + 7 in a lane: any order will do that rows and tokens share.
      const auto pair = [](const auto& words) {
        return static_cast<long>(static_cast<uint64_t>(static_cast<uint32_t>(words.word[1])) << 32 |
                                 static_cast<uint32_t>(words.word[0]));
      };
      with_sums<Int4>(sums.word, [&](Int4 c) {
        return __builtin_amdgcn_mfma_i32_16x16x32_i8(pair(rows), pair(cols), c, 0, 0, 0);
      });
    } else {
      for (int half = 0; half < 2; ++half) multiply_half(rows, cols, half, sums);
    }
  }
  __device__ static void multiply_half(typename Tile::Rows rows, const typename Tile::Cols& cols,
                                       int half, typename Tile::Sums& sums) {
    if constexpr (unit == MatrixUnit::kNone) {
      simt::multiply_by_dot4<Thread>(rows, cols, 4 * half, 4, sums);
    } else if constexpr (unit == MatrixUnit::kMfma32) {
      rows.word[1 - half] = 0;
      multiply(rows, cols, sums);
    } else if constexpr (unit == MatrixUnit::kMfma16) {
      with_sums<Int4>(sums.word, [&](Int4 c) {
        return __builtin_amdgcn_mfma_i32_16x16x16i8(rows.word[half], cols.word[half], c, 0, 0, 0);
      });
    } else {
      const auto four = [half](const auto& words) {
        return Int4{words.word[4 * half], words.word[4 * half + 1], words.word[4 * half + 2],
                    words.word[4 * half + 3]};
      };
      with_sums<Int8>(sums.word, [&](Int8 c) {
        return __builtin_amdgcn_wmma_i32_16x16x16_iu8_w32(true, four(rows), true, four(cols), c,
                                                          false);
      });
    }
  }
  __device__ static void multiply_f16(const typename Tile::Rows& rows,
                                      const typename Tile::Cols& cols,
                                      typename Tile::Floats& sums) {
    if constexpr (unit == MatrixUnit::kNone) {
      simt::multiply_by_fma<Thread>(rows, cols, sums);
    } else if constexpr (unit == MatrixUnit::kMfma16) {
      // The f16 instruction of CDNA2 takes subnormals for zero (PyTorch, "Numerical accuracy", on
      // MI200), which a small value may be; that of f32 does not, at a quarter of the speed.
      for (int i = 0; i < 4; ++i) {
        const auto at = [i](const auto& words) {
          return static_cast<float>(__builtin_bit_cast(Half2, words.word[i / 2])[i % 2]);
        };
        with_sums<Float4>(sums.value, [&](Float4 c) {
          return __builtin_amdgcn_mfma_f32_16x16x4f32(at(rows), at(cols), c, 0, 0, 0);
        });
      }
    } else if constexpr (unit == MatrixUnit::kMfma32) {
      with_sums<Float4>(sums.value, [&](Float4 c) {
        return __builtin_amdgcn_mfma_f32_16x16x16f16(__builtin_bit_cast(Half4, rows),
                                                     __builtin_bit_cast(Half4, cols), c, 0, 0, 0);
      });
    } else {
      with_sums<Float8>(sums.value, [&](Float8 c) {
        return __builtin_amdgcn_wmma_f32_16x16x16_f16_w32(__builtin_bit_cast(Half16, rows),
                                                          __builtin_bit_cast(Half16, cols), c);
      });
    }
  }

 private:
  template <typename Vector, typename Element, typename Product>
  __device__ static void with_sums(Element (&sums)[TileLayout::kSums], Product product) {
    Vector c;
    for (int i = 0; i < TileLayout::kSums; ++i) c[i] = sums[i];
    c = product(c);
    for (int i = 0; i < TileLayout::kSums; ++i) sums[i] = c[i];
  }
};

}  // namespace olx::kernels::hip
