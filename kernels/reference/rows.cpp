// The rows of the reference backend.
// Compiled with baseline flags (kernels/rows.h says why).

#include <initializer_list>

#include "kernels/backend_rows.h"
#include "kernels/rows.h"

namespace olx::kernels::reference {
namespace {
constexpr const char* kBackendName = "reference";
}

#define OLX_KERNEL OLX_DECLARE_KERNEL
#include "kernels/reference/kernels.inc"
#undef OLX_KERNEL

std::span<const KernelRow> rows() {
#define OLX_KERNEL OLX_KERNEL_ROW
  static constexpr std::initializer_list<KernelRow> kRows = {
#include "kernels/reference/kernels.inc"
  };
#undef OLX_KERNEL
  return {kRows.begin(), kRows.size()};
}

}  // namespace olx::kernels::reference
