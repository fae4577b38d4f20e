#pragma once
// The functions of NVIDIA's driver that this program calls, found when it runs: one binary serves
// machines with and without a driver, and tests put functions of their own in their place. No
// header of a vendor is needed; the numbers are those of cuda.h, which do not change. Used by
// device.cpp.

#include <cstddef>
#include <cstdint>
#include <string>

namespace olx::kernels::cuda {

// A CUresult; 0 is success.
using Result = int;
using Handle = void*;  // CUcontext, CUmodule, CUfunction, CUstream
using DeviceOrdinal = int;

inline constexpr Result kSuccess = 0;
inline constexpr Result kOutOfMemory = 2;
inline constexpr int kAttributeMajor = 75;  // of the compute capability
inline constexpr int kAttributeMinor = 76;
inline constexpr int kAttributeConcurrentManagedAccess = 89;
inline constexpr unsigned kMemAttachGlobal = 1;
inline constexpr unsigned kStreamNonBlocking = 1;

struct CudaApi {
  Result (*init)(unsigned flags);
  Result (*device_count)(int* count);
  Result (*device_get)(DeviceOrdinal* device, int index);
  Result (*device_name)(char* name, int size_bytes, DeviceOrdinal device);
  Result (*device_attribute)(int* value, int attribute, DeviceOrdinal device);
  Result (*device_memory)(size_t* size_bytes, DeviceOrdinal device);
  Result (*retain_context)(Handle* context, DeviceOrdinal device);
  Result (*release_context)(DeviceOrdinal device);
  Result (*set_context)(Handle context);
  Result (*allocate_managed)(uint64_t* address, size_t size_bytes, unsigned flags);
  Result (*free)(uint64_t address);
  Result (*load_module)(Handle* module, const void* image);
  Result (*unload_module)(Handle module);
  Result (*find_function)(Handle* function, Handle module, const char* name);
  Result (*create_stream)(Handle* stream, unsigned flags);
  Result (*destroy_stream)(Handle stream);
  Result (*synchronize)(Handle stream);
  Result (*launch)(Handle function, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                   unsigned block_x, unsigned block_y, unsigned block_z, unsigned shared_bytes,
                   Handle stream, void** parameters, void** extra);
  Result (*error_name)(Result result, const char** name);
};

// The driver of this machine, which stays loaded. Throws DeviceError that says what is missing.
CudaApi load_cuda_api(const char* library = "libcuda.so.1");

}  // namespace olx::kernels::cuda
