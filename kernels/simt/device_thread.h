#pragma once
// What the Simt policies (simt.h) of CUDA and HIP have in common: both languages spell it the same.
// Included by cuda/simt_cuda.h and hip/simt_hip.h after the vendor's headers, and by nothing else.

#include "kernels/simt/simt.h"

namespace olx::kernels::simt {

template <typename T>
struct SharedRef {
  T* elements;
  __device__ T load(int64_t i) const { return elements[i]; }
  __device__ void store(int64_t i, T x) const { elements[i] = x; }
};

// Own derives from it and adds shuffle_xor, ballot, wave_sync and dot4.
template <typename Own, int kWaveSize>
struct DeviceThread {
  static constexpr int kWave = kWaveSize;

  __device__ static int thread() { return static_cast<int>(threadIdx.x); }
  __device__ static int n_threads() { return static_cast<int>(blockDim.x); }
  __device__ static int lane() { return thread() % kWave; }
  __device__ static int wave() { return thread() / kWave; }
  __device__ static int n_waves() { return n_threads() / kWave; }
  __device__ static int64_t block() { return blockIdx.x; }

  template <int kN>
  __device__ static void reduce_add(float (&values)[kN]) {
    for (int mask = kWave / 2; mask > 0; mask /= 2)
      for (int i = 0; i < kN; ++i) values[i] += Own::shuffle_xor(values[i], mask);
  }
  template <int kN>
  __device__ static void reduce_max(float (&values)[kN]) {
    for (int mask = kWave / 2; mask > 0; mask /= 2)
      for (int i = 0; i < kN; ++i) values[i] = larger(values[i], Own::shuffle_xor(values[i], mask));
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

  __device__ static float from_f16(uint16_t bits) { return __half2float(__ushort_as_half(bits)); }
  __device__ static uint16_t to_f16(float x) { return __half_as_ushort(__float2half_rn(x)); }
  __device__ static float fma(float a, float b, float c) { return ::fmaf(a, b, c); }
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

}  // namespace olx::kernels::simt
