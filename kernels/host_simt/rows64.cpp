// The kernels of simt/ on the CPU in waves of 64.
#include "kernels/backend_rows.h"
#include "kernels/host_simt/rows.h"

namespace olx::kernels::host_simt64 {
std::span<const KernelRow> rows() { return host_simt::rows_of_wave<64>(); }
}  // namespace olx::kernels::host_simt64
