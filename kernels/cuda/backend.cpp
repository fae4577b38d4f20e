// The row `cuda` of backends.inc. CUDA_VISIBLE_DEVICES is the driver's own affair: what it hides is
// not there for this program either.

#include <cstdlib>

#include "kernels/backend_rows.h"
#include "kernels/cuda/driver.h"
#include "kernels/gpu/device.h"

namespace olx::kernels::cuda {

std::span<const gpu::Image> images();  // made by the build

std::span<const KernelRow> rows() {
  static const std::vector<KernelRow> kRows =
      images().empty() ? std::vector<KernelRow>() : gpu::device_rows("cuda");
  return kRows;
}

std::vector<DeviceInfo> devices() {
  return gpu::list_devices(load_driver(std::getenv("OLLAMAX_CUDA_DRIVER")), images());
}

std::unique_ptr<Device> open(const DeviceOptions& options) {
  return gpu::open_device(load_driver(std::getenv("OLLAMAX_CUDA_DRIVER")), images(), "cuda",
                          options.index);
}

}  // namespace olx::kernels::cuda
