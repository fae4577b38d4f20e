#pragma once
// What a shared library exports to add rows to the registry at run time (OLLAMAX_KERNEL_PLUGINS=a.so:b.so).
// A plugin includes this header and rows.h, exports one function, and links to nothing of ollamax:
//   extern "C" const olx::kernels::KernelPlugin* ollamax_kernel_plugin(const olx::kernels::PluginHost* host);
// It is not a stable binary interface: both sides compare kPluginAbi and the size of a row, and disagree with an error.

#include <cstddef>
#include <cstdint>

#include "kernels/api/registry.h"

namespace olx::kernels {

// Raised whenever KernelRow, an Args struct or this header changes its layout or meaning.
inline constexpr uint32_t kPluginAbi = 1;

// What the program offers to a plugin. Both return nullptr for an unknown name.
struct PluginHost {
  uint32_t abi = kPluginAbi;
  const ActivationFormat* (*find_activation)(const char* name) = nullptr;  // "f32", "q8"
  const WeightLayout* (*find_layout)(const char* name) = nullptr;          // "rows16"
};

// The plugin owns it and everything it points to, until the process ends.
struct KernelPlugin {
  uint32_t abi = kPluginAbi;
  uint32_t row_bytes = sizeof(KernelRow);
  const char* name = "";
  const KernelRow* rows = nullptr;  // activation nullptr means f32
  size_t n_rows = 0;
};

using KernelPluginFn = const KernelPlugin* (*)(const PluginHost* host);
inline constexpr const char* kKernelPluginSymbol = "ollamax_kernel_plugin";

}  // namespace olx::kernels
