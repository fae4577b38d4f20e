#pragma once
// A GPU: memory that the processor sees too (managed), one stream, the kernels of simt/ by name.
// The same for CUDA and HIP: it talks to a driver through DriverApi alone, so that tests run it on
// one of their own.

#include <memory>
#include <span>
#include <vector>

#include "kernels/api/backend.h"
#include "kernels/api/registry.h"
#include "kernels/gpu/driver.h"

namespace olx::kernels::gpu {

// Device `index` of the driver, whose kernel rows are those of `backend`. Calls may come from any
// thread, one at a time. Throws DeviceError naming the call that failed and the driver's word for
// the error; so does everything the device does later, and after a fault in a kernel all of it.
std::unique_ptr<Device> open_device(const DriverApi& api, std::span<const Image> images,
                                    const char* backend, int index = 0);

// What the driver has, each with its name, architecture and memory; none is opened, so no memory
// is taken. Devices for which there is no image are left out. Throws DeviceError: there is none.
std::vector<DeviceInfo> list_devices(const DriverApi& api, std::span<const Image> images);

// The lines of simt/kernels.inc as rows of a backend. They run on its device alone: run is nullptr.
std::vector<KernelRow> device_rows(const char* backend);

}  // namespace olx::kernels::gpu
