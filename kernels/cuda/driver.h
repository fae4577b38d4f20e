#pragma once
// NVIDIA's driver as a gpu::DriverApi. The numbers are those of cuda.h, which do not change.

#include <span>
#include <string_view>

#include "kernels/gpu/driver.h"

namespace olx::kernels::cuda {

inline constexpr int kAttributeWaveSize = 10;
inline constexpr int kAttributeMajor = 75;  // of the compute capability
inline constexpr int kAttributeMinor = 76;
inline constexpr int kAttributeConcurrentManagedAccess = 89;

// The driver of this machine, which stays loaded; `library` in the place of "libcuda.so.1". Throws
// DeviceError that says what is missing.
gpu::DriverApi load_driver(const char* library = nullptr);

// What of the table is not a function of the driver.
void set_constants(gpu::DriverApi& api);

// The image for "sm_86": its own code, else the latest code of an earlier minor version of the same
// major one, else the latest PTX that is not later; nullptr: none fits. Code like sm_90a is for
// compute capability 9.0 and no other.
const gpu::Image* choose_image(std::span<const gpu::Image> images, std::string_view architecture);

}  // namespace olx::kernels::cuda
