// The row `hip` of backends.inc. HIP_VISIBLE_DEVICES and ROCR_VISIBLE_DEVICES are the runtime's own
// affair: what they hide is not there for this program either.

#include <cstdlib>

#include "kernels/backend_rows.h"
#include "kernels/gpu/device.h"
#include "kernels/hip/driver.h"

namespace olx::kernels::hip {

std::span<const gpu::Image> images();  // made by the build

std::span<const KernelRow> rows() {
  static const std::vector<KernelRow> kRows =
      images().empty() ? std::vector<KernelRow>() : gpu::device_rows("hip");
  return kRows;
}

std::vector<DeviceInfo> devices() {
  return gpu::list_devices(load_driver(std::getenv("OLLAMAX_HIP_DRIVER")), images());
}

std::unique_ptr<Device> open(const DeviceOptions& options) {
  return gpu::open_device(load_driver(std::getenv("OLLAMAX_HIP_DRIVER")), images(), "hip",
                          options.index);
}

}  // namespace olx::kernels::hip
