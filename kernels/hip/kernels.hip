// Every kernel of simt/ for AMD devices: one entry point a row of simt/kernels.inc, by the row's
// name. The build compiles it once for each architecture and says what that one has:
// OLLAMAX_WAVE_SIZE (32, 64), OLLAMAX_HAS_SIGNED_DOT (0, 1), OLLAMAX_MATRIX_UNIT (a
// hip::MatrixUnit).

#include "kernels/hip/simt_hip.h"
#include "kernels/simt/kernels.h"

namespace olx::kernels {
using namespace simt;
using Thread = hip::Thread<OLLAMAX_WAVE_SIZE, OLLAMAX_HAS_SIGNED_DOT != 0,
                           hip::MatrixUnit::OLLAMAX_MATRIX_UNIT>;

#define OLX_SIMT_KERNEL(op, dtype, variant, activation, rank, accepts, name, ...) \
  extern "C" __global__ void __launch_bounds__(kMaxThreads)                       \
      name(const op##Args args, RowRange range) {                                 \
    Thread thread;                                                                \
    __VA_ARGS__::run(thread, args, range);                                        \
  }
#include "kernels/simt/kernels.inc"
#undef OLX_SIMT_KERNEL

}  // namespace olx::kernels
