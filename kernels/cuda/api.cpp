#include "kernels/cuda/api.h"

#include <dlfcn.h>

#include "kernels/api/backend.h"

namespace olx::kernels::cuda {

CudaApi load_cuda_api(const char* library) {
  void* driver = dlopen(library, RTLD_NOW | RTLD_LOCAL);
  if (driver == nullptr) {
    const char* why = dlerror();
    throw DeviceError(std::string("cuda: there is no NVIDIA driver: ") +
                      (why != nullptr ? why : library));
  }
  CudaApi api{};
  const auto find = [&](auto*& function, const char* name) {
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(driver, name));
    if (function == nullptr)
      throw DeviceError(std::string("cuda: ") + library + ": expected it to export " + name);
  };
  find(api.init, "cuInit");
  find(api.device_count, "cuDeviceGetCount");
  find(api.device_get, "cuDeviceGet");
  find(api.device_name, "cuDeviceGetName");
  find(api.device_attribute, "cuDeviceGetAttribute");
  find(api.device_memory, "cuDeviceTotalMem_v2");
  find(api.retain_context, "cuDevicePrimaryCtxRetain");
  find(api.release_context, "cuDevicePrimaryCtxRelease_v2");
  find(api.set_context, "cuCtxSetCurrent");
  find(api.allocate_managed, "cuMemAllocManaged");
  find(api.free, "cuMemFree_v2");
  find(api.load_module, "cuModuleLoadData");
  find(api.unload_module, "cuModuleUnload");
  find(api.find_function, "cuModuleGetFunction");
  find(api.create_stream, "cuStreamCreate");
  find(api.destroy_stream, "cuStreamDestroy_v2");
  find(api.synchronize, "cuStreamSynchronize");
  find(api.launch, "cuLaunchKernel");
  find(api.error_name, "cuGetErrorName");
  return api;
}

}  // namespace olx::kernels::cuda
