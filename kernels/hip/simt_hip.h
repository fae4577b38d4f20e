#pragma once
// The Simt policy (simt/simt.h) as a thread of an AMD device, compiled for one architecture at a
// time by clang: gfx906 and later with v_dot4, RDNA3 (gfx11) with the form that names the signs.
// Waves have 64 lanes on gfx9 and 32 after it.

#include <hip/hip_fp16.h>
#include <hip/hip_runtime.h>

#include "kernels/simt/simt.h"

namespace olx::kernels::hip {

template <typename T>
struct SharedRef {
  T* elements;
  __device__ T load(int64_t i) const { return elements[i]; }
  __device__ void store(int64_t i, T x) const { elements[i] = x; }
};

// kHasSignedDot: v_dot4_i32_i8; without it v_dot4_i32_iu8.
template <int kWaveSize, bool kHasSignedDot>
struct Thread {
  static constexpr int kWave = kWaveSize;

  __device__ static int thread() { return static_cast<int>(threadIdx.x); }
  __device__ static int n_threads() { return static_cast<int>(blockDim.x); }
  __device__ static int lane() { return thread() % kWave; }
  __device__ static int wave() { return thread() / kWave; }
  __device__ static int n_waves() { return n_threads() / kWave; }
  __device__ static int64_t block() { return blockIdx.x; }

  template <typename T>
  __device__ static T shuffle_xor(T x, int mask) {
    return __shfl_xor(x, mask, kWave);
  }
  __device__ static uint64_t ballot(bool bit) { return __ballot(bit); }
  template <int kN>
  __device__ static void reduce_add(float (&values)[kN]) {
    for (int mask = kWave / 2; mask > 0; mask /= 2)
      for (int i = 0; i < kN; ++i) values[i] += shuffle_xor(values[i], mask);
  }
  template <int kN>
  __device__ static void reduce_max(float (&values)[kN]) {
    for (int mask = kWave / 2; mask > 0; mask /= 2)
      for (int i = 0; i < kN; ++i)
        values[i] = simt::larger(values[i], shuffle_xor(values[i], mask));
  }
  // The lanes of a wave run in step; only the compiler has to keep the order.
  __device__ static void wave_sync() {
    __builtin_amdgcn_fence(__ATOMIC_ACQ_REL, "wavefront");
    __builtin_amdgcn_wave_barrier();
  }
  __device__ static void barrier() { __syncthreads(); }

  template <typename Tag, typename T, int kN>
  __device__ static SharedRef<T> shared() {
    __shared__ T elements[kN];
    return {elements};
  }
  __device__ static uint32_t atomic_add(uint32_t* counter, uint32_t x) {
    __threadfence();
    const uint32_t before = atomicAdd(counter, x);
    __threadfence();
    return before;
  }

  __device__ static int32_t dot4(int32_t a, int32_t b, int32_t c) {
    if constexpr (kHasSignedDot)
      return __builtin_amdgcn_sdot4(a, b, c, false);
    else
      return __builtin_amdgcn_sudot4(true, a, true, b, c, false);
  }
  __device__ static float from_f16(uint16_t bits) { return __half2float(__ushort_as_half(bits)); }
  __device__ static uint16_t to_f16(float x) { return __half_as_ushort(__float2half_rn(x)); }
  __device__ static float exp(float x) { return ::expf(x); }
  __device__ static float tanh(float x) { return ::tanhf(x); }
  __device__ static float erfc(float x) { return ::erfcf(x); }
  __device__ static float sqrt(float x) { return ::sqrtf(x); }
  __device__ static float round(float x) { return ::rintf(x); }
  __device__ static double pow(double x, double y) { return ::pow(x, y); }
  __device__ static double cos(double x) { return ::cos(x); }
  __device__ static double sin(double x) { return ::sin(x); }
  __device__ static double log(double x) { return ::log(x); }
  __device__ static double floor(double x) { return ::floor(x); }
  __device__ static double ceil(double x) { return ::ceil(x); }
};

}  // namespace olx::kernels::hip
