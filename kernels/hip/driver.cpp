#include "kernels/hip/driver.h"

#include <string>
#include <vector>

#include "kernels/api/backend.h"

namespace olx::kernels::hip {
namespace {

using gpu::DriverApi;
using gpu::Image;

// gcnArchName, "gfx90a:sramecc+:xnack-", without its features. Where it stands in hipDeviceProp_t
// changes with the release; that no other field begins so after a 0 byte does not.
std::string architecture_of(const DriverApi& api, int device) {
  std::vector<char> bytes(kPropertiesBytes, '\0');
  gpu::check(api, api.properties(bytes.data(), device), api.properties.name);
  constexpr std::string_view kStart("\0gfx", 4);
  const std::string_view text(bytes.data(), bytes.size() - 1);
  const size_t before = text.find(kStart);
  if (before == std::string_view::npos)
    throw DeviceError("hip: device " + std::to_string(device) +
                      ": expected its properties to name an architecture (gfx…)");
  const std::string_view name = text.substr(before + 1);
  return std::string(name.substr(0, name.find_first_of(std::string_view("\0:", 2))));
}

}  // namespace

const Image* choose_image(std::span<const Image> images, std::string_view architecture) {
  for (const Image& image : images)
    if (image.architecture == architecture) return &image;
  return nullptr;
}

void set_constants(DriverApi& api) {
  api.backend = "hip";
  api.attribute_concurrent_managed = kAttributeConcurrentManagedAccess;
  api.attribute_wave_size = kAttributeWaveSize;
  api.architecture = architecture_of;
  api.choose_image = choose_image;
}

DriverApi load_driver(const char* library) {
  std::vector<std::string> names = {"libamdhip64.so.7", "libamdhip64.so.6", "libamdhip64.so.5",
                                    "libamdhip64.so"};
  if (library != nullptr) names = {library};
  const gpu::DriverLibrary driver("hip", names, "HIP runtime of AMD");
  DriverApi api;
  set_constants(api);
  driver.find(api.init, "hipInit");
  driver.find(api.device_count, "hipGetDeviceCount");
  driver.find(api.device_get, "hipDeviceGet");
  driver.find(api.device_name, "hipDeviceGetName");
  driver.find(api.device_attribute, "hipDeviceGetAttribute");
  driver.find(api.device_memory, "hipDeviceTotalMem");
  driver.find(api.set_device, "hipSetDevice");
  driver.find(api.memory_info, "hipMemGetInfo");
  driver.find(api.allocate_managed, "hipMallocManaged");
  driver.find(api.free, "hipFree");
  driver.find(api.load_module, "hipModuleLoadData");
  driver.find(api.unload_module, "hipModuleUnload");
  driver.find(api.find_function, "hipModuleGetFunction");
  driver.find(api.create_stream, "hipStreamCreateWithFlags");
  driver.find(api.destroy_stream, "hipStreamDestroy");
  driver.find(api.synchronize, "hipStreamSynchronize");
  driver.find(api.launch, "hipModuleLaunchKernel");
  driver.find_optional(api.begin_capture, "hipStreamBeginCapture");
  driver.find_optional(api.end_capture, "hipStreamEndCapture");
  driver.find_optional(api.instantiate_graph, "hipGraphInstantiateWithFlags");
  driver.find_optional(api.destroy_graph, "hipGraphDestroy");
  driver.find_optional(api.launch_graph, "hipGraphLaunch");
  driver.find_optional(api.destroy_executable, "hipGraphExecDestroy");
  api.error_text =
      reinterpret_cast<const char* (*)(gpu::Result)>(driver.require("hipGetErrorName"));
  // Since 6.0 the old name means the old layout, where it still exists at all.
  constexpr const char* kProperties = "hipGetDevicePropertiesR0600";
  if (driver.optional(kProperties) != nullptr)
    driver.find(api.properties, kProperties);
  else
    driver.find(api.properties, "hipGetDeviceProperties");
  return api;
}

}  // namespace olx::kernels::hip
