// The CPU device.
#include "kernels/backend_rows.h"

namespace olx::kernels::cpu {

std::unique_ptr<Device> open(const DeviceOptions&) { throw DeviceError("cpu: the device is not written yet"); }

}  // namespace olx::kernels::cpu
