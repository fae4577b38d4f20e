#include "kernels/cuda/driver.h"

#include <charconv>
#include <string>

namespace olx::kernels::cuda {
namespace {

using gpu::DriverApi;
using gpu::Image;

// Major and minor of "sm_86" or "compute_86", and whether it ends in a letter.
struct Capability {
  int major = 0;
  int minor = 0;
  bool is_ptx = false;
  bool is_exact = false;

  explicit Capability(std::string_view name) {
    is_ptx = name.starts_with("compute_");
    name.remove_prefix(name.find('_') + 1);
    int number = 0;
    const char* end = std::from_chars(name.data(), name.data() + name.size(), number).ptr;
    is_exact = end != name.data() + name.size();
    major = number / 10;
    minor = number % 10;
  }
  int version() const { return major * 10 + minor; }
};

std::string architecture_of(const DriverApi& api, int device) {
  int major = 0, minor = 0;
  gpu::check(api, api.device_attribute(&major, kAttributeMajor, device), api.device_attribute.name);
  gpu::check(api, api.device_attribute(&minor, kAttributeMinor, device), api.device_attribute.name);
  return "sm_" + std::to_string(major) + std::to_string(minor);
}

}  // namespace

const Image* choose_image(std::span<const Image> images, std::string_view architecture) {
  const Capability device(architecture);
  const Image* best = nullptr;
  const auto is_better = [&](const Capability& image) {
    if (best == nullptr) return true;
    const Capability other(best->architecture);
    return image.is_ptx != other.is_ptx ? other.is_ptx : image.version() > other.version();
  };
  for (const Image& image : images) {
    const Capability code(image.architecture);
    const bool fits = code.is_exact ? code.version() == device.version()
                      : code.is_ptx ? code.version() <= device.version()
                                    : code.major == device.major && code.minor <= device.minor;
    if (fits && is_better(code)) best = &image;
  }
  return best;
}

void set_constants(DriverApi& api) {
  api.backend = "cuda";
  api.attribute_concurrent_managed = kAttributeConcurrentManagedAccess;
  api.attribute_wave_size = kAttributeWaveSize;
  api.architecture = architecture_of;
  api.choose_image = choose_image;
}

DriverApi load_driver(const char* library) {
  const std::string names[] = {library != nullptr ? library : "libcuda.so.1"};
  const gpu::DriverLibrary driver("cuda", names, "NVIDIA driver");
  DriverApi api;
  set_constants(api);
  driver.find(api.init, "cuInit");
  driver.find(api.device_count, "cuDeviceGetCount");
  driver.find(api.device_get, "cuDeviceGet");
  driver.find(api.device_name, "cuDeviceGetName");
  driver.find(api.device_attribute, "cuDeviceGetAttribute");
  driver.find(api.device_memory, "cuDeviceTotalMem_v2");
  driver.find(api.retain_context, "cuDevicePrimaryCtxRetain");
  driver.find(api.release_context, "cuDevicePrimaryCtxRelease_v2");
  driver.find(api.set_context, "cuCtxSetCurrent");
  driver.find(api.memory_info, "cuMemGetInfo_v2");
  driver.find(api.allocate_managed, "cuMemAllocManaged");
  driver.find(api.free, "cuMemFree_v2");
  driver.find(api.load_module, "cuModuleLoadData");
  driver.find(api.unload_module, "cuModuleUnload");
  driver.find(api.find_function, "cuModuleGetFunction");
  driver.find(api.create_stream, "cuStreamCreate");
  driver.find(api.destroy_stream, "cuStreamDestroy_v2");
  driver.find(api.synchronize, "cuStreamSynchronize");
  driver.find(api.launch, "cuLaunchKernel");
  driver.find_optional(api.begin_capture, "cuStreamBeginCapture_v2");
  driver.find_optional(api.end_capture, "cuStreamEndCapture");
  driver.find_optional(api.instantiate_graph, "cuGraphInstantiateWithFlags");
  driver.find_optional(api.destroy_graph, "cuGraphDestroy");
  driver.find_optional(api.launch_graph, "cuGraphLaunch");
  driver.find_optional(api.destroy_executable, "cuGraphExecDestroy");
  driver.find(api.error_name, "cuGetErrorName");
  return api;
}

}  // namespace olx::kernels::cuda
