#pragma once
// What the host side of a device has to know of the kernels of simt/kernels.inc to start them: by
// the name that is also the entry point's, how large their arguments are and how many threads they
// want. Used by cuda/device.cpp.

#include <span>
#include <string_view>

#include "kernels/simt/simt.h"

namespace olx::kernels::simt {

struct LaunchRow {
  const char* name;  // of the KernelRow, and of the entry point f(Args, RowRange)
  Op op;
  size_t args_bytes;
  Grid (*grid)(const void* args, RowRange range, int wave_size);
};

std::span<const LaunchRow> launch_rows();
const LaunchRow* find_launch(std::string_view name);  // nullptr: none of that name

}  // namespace olx::kernels::simt
