// Every kernel of simt/ for NVIDIA devices: one entry point a row of simt/kernels.inc, by the row's
// name.

#include "kernels/cuda/simt_cuda.h"
#include "kernels/simt/kernels.h"

namespace olx::kernels {
using namespace simt;

#define OLX_SIMT_KERNEL(op, dtype, variant, activation, rank, accepts, name, ...) \
  extern "C" __global__ void __launch_bounds__(kMaxThreads)                       \
      name(const op##Args args, RowRange range) {                                 \
    cuda::Thread thread;                                                          \
    __VA_ARGS__::run(thread, args, range);                                        \
  }
#include "kernels/simt/kernels.inc"
#undef OLX_SIMT_KERNEL

}  // namespace olx::kernels
