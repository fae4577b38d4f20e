#pragma once
// A driver with one device, whose kernels run on the CPU as host_simt32 runs them. It is as strict
// as a real one: launches wait until someone synchronizes, kernels reach only memory that the
// driver gave, a call needs a context in its thread, and after a fault every call fails. A script
// makes the n-th call of a function fail.

#include <string>

#include "kernels/cuda/api.h"

namespace olx::kernels::cuda {

struct FakeCuda {
  // What it is.
  int n_devices = 1;
  int major = 8;
  int minor = 6;
  int is_concurrent = 1;
  // What goes wrong: the nth call (from 1) of a function gives `result`.
  std::string fails_function;
  int fails_at = 0;
  Result fails_with = 0;
  bool faults_at_next_launch = false;  // seen when it is waited for, as on a device

  // What was seen.
  int n_calls_of_failing_function = 0;
  int n_launches = 0;  // that ran
  int n_contexts = 0;  // alive, like the others below
  int n_modules = 0;
  int n_streams = 0;
  size_t n_allocations = 0;
  bool has_leaks() const {
    return n_contexts + n_modules + n_streams + static_cast<int>(n_allocations) != 0;
  }
  std::string misuse;  // "" or what a program may not do
};

// A new driver; the one before is gone.
FakeCuda& begin_fake_cuda();
CudaApi fake_cuda_api();
// Every function's name, as fails_function takes it.
extern const char* const kFakeCudaFunctions[19];

}  // namespace olx::kernels::cuda
