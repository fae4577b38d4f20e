// The lines of simt/kernels.inc as rows of the backends that start them by name.

#include "kernels/rows.h"

#include "kernels/gpu/device.h"
#include "kernels/simt/kernels.h"

namespace olx::kernels::gpu {

std::vector<KernelRow> device_rows(const char* backend) {
  using namespace simt;  // NOLINT: where the lines' predicates and formats are
#define OLX_SIMT_KERNEL(op, dtype, variant, activation, rank, accepts, name, ...)            \
  KernelRow{Op::k##op,  backend, #name,        #variant, DType::k##dtype,                    \
            activation, nullptr, kFeatureNone, rank,     erase_accepts<op##Args, accepts>(), \
            nullptr},
  return {
#include "kernels/simt/kernels.inc"
  };
#undef OLX_SIMT_KERNEL
}

}  // namespace olx::kernels::gpu
