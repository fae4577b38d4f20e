#pragma once
// A driver of CUDA's or HIP's form whose devices are the CPU: kernels run as host_simt32 or
// host_simt64 runs them. It is as strict as a real one: launches wait until someone synchronizes,
// kernels reach only memory of their own device, a call needs a context (HIP: a device) in its
// thread, after a fault every call fails, and a stream that records takes launches and nothing
// else. A script makes the n-th call of a function fail.

#include <memory>
#include <string>
#include <vector>

#include "kernels/api/backend.h"
#include "kernels/gpu/driver.h"

namespace olx::kernels::gpu {

enum class FakeForm { kCuda, kHip };
struct FakeKind {
  FakeForm form;
  int wave_size;
};
const std::vector<FakeKind>& fake_kinds();  // all there are

struct FakeDriver {
  FakeForm form = FakeForm::kCuda;
  // What it is.
  int n_devices = 1;
  int wave_size = 32;
  int is_concurrent = 1;
  int major = 8, minor = 6;               // CUDA
  std::string architecture = "gfx1100";   // HIP: what its properties say
  size_t memory_bytes = size_t{1} << 33;  // that can be allocated on a device
  bool has_graphs = true;                 // what fake_driver_api() then has
  // What goes wrong: the nth call (from 1) of a function of DriverApi gives `result`.
  std::string fails_function;
  int fails_at = 0;
  Result fails_with = 0;
  int faults_at_launch = 0;  // the nth launch (from 1), once: seen when it is waited for

  // What was seen.
  int n_calls_of_failing_function = 0;
  int n_calls = 0;     // of the driver
  int n_launches = 0;  // that ran
  bool is_capturing = false;
  int n_contexts = 0;  // alive, like the others below
  int n_modules = 0;
  int n_streams = 0;
  int n_graphs = 0;
  int n_executables = 0;
  size_t n_allocations = 0;
  size_t allocated_bytes = 0;
  static constexpr int kMaxDevices = 4;
  struct OfDevice {
    size_t taken_bytes = 0;  // by another program
    size_t allocated_bytes = 0;
    int n_launches = 0;
  };
  OfDevice devices[kMaxDevices];
  bool has_leaks() const {
    return n_contexts + n_modules + n_streams + n_graphs + n_executables +
               static_cast<int>(n_allocations) !=
           0;
  }
  std::string misuse;  // "" or what a program may not do
};

// A new driver; the one before is gone.
FakeDriver& begin_fake_driver(FakeForm form = FakeForm::kCuda, int wave_size = 32);
FakeDriver& fake_driver();  // the present one
DriverApi fake_driver_api();
// A new one for a program that opens it as a library. At each init, CUDA_FAKE_DEVICES,
// HIP_FAKE_DEVICES: how many devices it has; CUDA_FAKE_ARCHITECTURE ("7.6"), HIP_FAKE_ARCHITECTURE
// ("gfx1100"): what they are.
DriverApi fake_library_api(FakeForm form);
// What it would load: one image that fits whatever it is.
std::span<const Image> fake_images();
// The backend whose kernels it runs: "host_simt32", "host_simt64"; and one of them.
const char* fake_backend();
const KernelRow& fake_row(const char* name);
std::unique_ptr<Device> open_fake_device(int index = 0);
// Whether an address lies in memory that the driver gave and has not got back.
bool is_fake_device_memory(const void* from, size_t size_bytes);
// Every function's name in DriverApi, as fails_function takes it.
extern const char* const kFakeFunctions[28];

}  // namespace olx::kernels::gpu
