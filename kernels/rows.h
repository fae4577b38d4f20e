#pragma once
// How a line of a kernels.inc becomes a KernelRow. Included by the one rows file of each backend (and by tests);
// it is not for kernels, which include api/args.h alone.
//
// A line reads
//   OLX_KERNEL(op, dtype, variant, activation, layout, features, rank, accepts, function)
// for example
//   OLX_KERNEL(Matmul, Q4_K, avx512, &kActivationQ8, &kLayoutRows16, kFeatureAvx512, 30, nullptr, matmul_q4_k_avx512)
//   OLX_KERNEL(RmsNorm, F32, avx2, &kActivationF32, nullptr, kFeatureAvx2, 20, nullptr, rms_norm_avx2)
// op and dtype are enumerators without the k; function is `void f(const <op>Args&, RowRange)`; accepts is nullptr or
// `bool f(const <op>Args&)`. The rows file expands the same lines twice: OLX_DECLARE_KERNEL, then OLX_KERNEL_ROW.
// It must be compiled with baseline flags: the templates below would be weak symbols in an instruction set's object.

#include <type_traits>

#include "kernels/api/registry.h"

namespace olx::kernels {

template <typename Args, void (*function)(const Args&, RowRange)>
void run_erased(const void* args, RowRange range) {
  function(*static_cast<const Args*>(args), range);
}

// By type: a comparison of addresses is no constant expression under GCC's UBSan.
template <typename Args, auto accepts>
constexpr AcceptsFn erase_accepts() {
  if constexpr (std::is_null_pointer_v<decltype(accepts)>) {
    return nullptr;
  } else {
    return [](const void* args) { return accepts(*static_cast<const Args*>(args)); };
  }
}

}  // namespace olx::kernels

#define OLX_DECLARE_KERNEL(op, dtype, variant, activation, layout, features, rank, accepts, function) \
  void function(const ::olx::kernels::op##Args&, ::olx::kernels::RowRange);

// kBackendName is a constant of the namespace the rows file expands this in.
#define OLX_KERNEL_ROW(op, dtype, variant, activation, layout, features, rank, accepts, function)    \
  ::olx::kernels::KernelRow{::olx::kernels::Op::k##op,                                              \
                            kBackendName,                                                           \
                            #function,                                                              \
                            #variant,                                                               \
                            ::olx::kernels::DType::k##dtype,                                        \
                            activation,                                                             \
                            layout,                                                                 \
                            features,                                                               \
                            rank,                                                                   \
                            ::olx::kernels::erase_accepts<::olx::kernels::op##Args, accepts>(),     \
                            &::olx::kernels::run_erased<::olx::kernels::op##Args, function>},
