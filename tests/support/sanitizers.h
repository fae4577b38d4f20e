#pragma once
// Whether this build checks itself. Where fibers run the kernels of GPUs, that takes ten times as long; such builds take fewer
// shapes and waves of 32 lanes only, and the preset `ci` takes all.

#include <string_view>

namespace olx::tests {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool kHasSanitizers = true;
#else
inline constexpr bool kHasSanitizers = false;
#endif

// A backend that sanitizers leave to the same kernels in waves of 32.
inline bool is_left_out(std::string_view backend) { return kHasSanitizers && backend == "host_simt64"; }

}  // namespace olx::tests
