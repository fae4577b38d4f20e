#include "engine/devices.h"

#include "kernels/api/backend.h"

namespace olx::engine {

std::vector<ListedDevice> list_devices() {
  std::vector<ListedDevice> listed;
  for (const kernels::Backend& backend : kernels::backends()) {
    const bool is_accelerator = backend.kind == kernels::BackendKind::kAccelerator;
    const auto add_fault = [&](const std::string& fault) {
      listed.push_back({.backend = backend.name, .fault = fault, .is_accelerator = is_accelerator});
    };
    if (backend.unavailable_reason != nullptr) {
      add_fault(backend.unavailable_reason);
      continue;
    }
    try {
      for (const kernels::DeviceInfo& info : backend.devices())
        listed.push_back({.backend = backend.name,
                          .name = info.name,
                          .index = info.index,
                          .memory_bytes = info.memory_bytes,
                          .is_accelerator = is_accelerator});
    } catch (const kernels::DeviceError& error) {
      add_fault(error.what());
    }
  }
  return listed;
}

std::string default_device(const std::vector<ListedDevice>& devices) {
  for (const ListedDevice& device : devices)
    if (device.is_accelerator && device.fault.empty()) return device.backend;
  return "cpu";
}

}  // namespace olx::engine
