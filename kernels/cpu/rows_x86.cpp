// The rows of the CPU backend on x86-64; CMake takes the rows file of the target's processor.
// Compiled with baseline flags (kernels/rows.h says why).

#include <initializer_list>

#include "kernels/backend_rows.h"
#include "kernels/cpu/accepts.h"
#include "kernels/cpu/activation_q8.h"
#include "kernels/cpu/panel.h"
#include "kernels/rows.h"

namespace olx::kernels::cpu {
namespace {
constexpr const char* kBackendName = "cpu";
}

#define OLX_KERNEL OLX_DECLARE_KERNEL
#include "kernels/cpu/portable/matmul.inc"
#include "kernels/cpu/portable/rowwise.inc"
#include "kernels/cpu/avx2/matmul.inc"
#include "kernels/cpu/avx2/matmul_fine.inc"
#include "kernels/cpu/avx2/rowwise.inc"
#include "kernels/cpu/avxvnni/matmul.inc"
#include "kernels/cpu/avxvnni/matmul_fine.inc"
#include "kernels/cpu/avx512/matmul.inc"
#include "kernels/cpu/avx512/matmul_fine.inc"
#include "kernels/cpu/avx512/rowwise.inc"
#include "kernels/cpu/amx/matmul.inc"
#include "kernels/cpu/amx/matmul_fine.inc"
#include "kernels/cpu/amx/rowwise.inc"
#undef OLX_KERNEL

std::span<const KernelRow> rows() {
#define OLX_KERNEL OLX_KERNEL_ROW
  static constexpr std::initializer_list<KernelRow> kRows = {
#include "kernels/cpu/portable/matmul.inc"
#include "kernels/cpu/portable/rowwise.inc"
#include "kernels/cpu/avx2/matmul.inc"
#include "kernels/cpu/avx2/matmul_fine.inc"
#include "kernels/cpu/avx2/rowwise.inc"
#include "kernels/cpu/avxvnni/matmul.inc"
#include "kernels/cpu/avxvnni/matmul_fine.inc"
#include "kernels/cpu/avx512/matmul.inc"
#include "kernels/cpu/avx512/matmul_fine.inc"
#include "kernels/cpu/avx512/rowwise.inc"
#include "kernels/cpu/amx/matmul.inc"
#include "kernels/cpu/amx/matmul_fine.inc"
#include "kernels/cpu/amx/rowwise.inc"
  };
#undef OLX_KERNEL
  return {kRows.begin(), kRows.size()};
}

}  // namespace olx::kernels::cpu
