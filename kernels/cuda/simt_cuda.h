#pragma once
// The Simt policy (simt/simt.h) as a thread of an NVIDIA device, sm_75 and later. Compiled by nvcc
// alone.

#include <cuda_fp16.h>

#include "kernels/simt/device_thread.h"

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
};

static_assert(simt::Simt<Thread>);

}  // namespace olx::kernels::cuda
