#include "kernels/simt/launch_table.h"

#include <initializer_list>

#include "kernels/simt/kernels.h"

namespace olx::kernels::simt {

std::span<const LaunchRow> launch_rows() {
#define OLX_SIMT_KERNEL(op, dtype, variant, activation, rank, accepts, name, ...)                \
  LaunchRow{#name, Op::k##op, sizeof(op##Args), [](const void* any, RowRange range, int wave) {  \
              using Kernel = __VA_ARGS__;                                                        \
              const auto& args = *static_cast<const op##Args*>(any);                             \
              return wave == 64 ? Kernel::grid<64>(args, range) : Kernel::grid<32>(args, range); \
            }},
  static const std::initializer_list<LaunchRow> kRows = {
#include "kernels/simt/kernels.inc"
  };
#undef OLX_SIMT_KERNEL
  return {kRows.begin(), kRows.size()};
}

const LaunchRow* find_launch(std::string_view name) {
  for (const LaunchRow& row : launch_rows())
    if (name == row.name) return &row;
  return nullptr;
}

}  // namespace olx::kernels::simt
