#pragma once
// The Simt policy (simt/simt.h) as a thread of an AMD device, compiled for one architecture at a
// time by clang: gfx906 and later with v_dot4, RDNA3 (gfx11) with the form that names the signs.
// Waves have 64 lanes on gfx9 and 32 after it.

#include <hip/hip_fp16.h>
#include <hip/hip_runtime.h>

#include "kernels/simt/device_thread.h"

namespace olx::kernels::hip {

// kHasSignedDot: v_dot4_i32_i8; without it v_dot4_i32_iu8.
template <int kWaveSize, bool kHasSignedDot>
struct Thread : simt::DeviceThread<Thread<kWaveSize, kHasSignedDot>, kWaveSize> {
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
};

}  // namespace olx::kernels::hip
