#pragma once
// The rows of simt/kernels.inc as kernels of a wave size. Included by rows32.cpp and rows64.cpp.

#include <initializer_list>
#include <span>

#include "kernels/host_simt/lane.h"
#include "kernels/rows.h"
#include "kernels/simt/kernels.h"

namespace olx::kernels::host_simt {

template <int kWave>
constexpr KernelRow table_row(Op op, const char* name, const char* variant, DType dtype,
                              const ActivationFormat* activation, int rank, AcceptsFn accepts,
                              KernelFn run) {
  return {op,      kWave == 32 ? "host_simt32" : "host_simt64",
          name,    variant,
          dtype,   activation,
          nullptr, kFeatureNone,
          rank,    accepts,
          run};
}

template <int kWave>
std::span<const KernelRow> rows_of_wave() {
  using namespace simt;  // where the kernels are that the lines name
#define OLX_SIMT_KERNEL(op, dtype, variant, activation, rank, accepts, name, ...)             \
  table_row<kWave>(Op::k##op, #name, #variant, DType::k##dtype, activation, rank,             \
                   erase_accepts<op##Args, accepts>(), [](const void* args, RowRange range) { \
                     launch<__VA_ARGS__, kWave>(#name, *static_cast<const op##Args*>(args),   \
                                                range);                                       \
                   }),
  static const std::initializer_list<KernelRow> kRows = {
#include "kernels/simt/kernels.inc"
  };
#undef OLX_SIMT_KERNEL
  return {kRows.begin(), kRows.size()};
}

}  // namespace olx::kernels::host_simt
