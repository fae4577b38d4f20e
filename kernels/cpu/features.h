#pragma once
// What this processor can do, asked of the processor. Used by the CPU device alone.

#include <string>
#include <string_view>

#include "kernels/api/backend.h"

namespace olx::kernels::cpu {

// Bits of Feature this processor and its operating system support.
Features detect_features();
// The features that remain when `isa` (portable, avx2, avxvnni, avx512, amx, neon, i8mm) is forced. Throws DeviceError when it is
// unknown or this processor lacks it.
Features force_isa(std::string_view isa, Features available);
std::string processor_name();
// The widest instruction set among the features, for people: "avx512".
std::string_view isa_name(Features features);
// CPUs this process may run on, and their physical cores where the system tells.
int n_logical_cpus();
int n_physical_cores();

}  // namespace olx::kernels::cpu
