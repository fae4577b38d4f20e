#pragma once
// AMD's HIP runtime as a gpu::DriverApi. The numbers are those of hip_runtime_api.h, which are the
// same from release 5.2 to 7.0.

#include <span>
#include <string_view>

#include "kernels/gpu/driver.h"

namespace olx::kernels::hip {

inline constexpr int kAttributeConcurrentManagedAccess = 9;
inline constexpr int kAttributeWaveSize = 87;
// More than hipDeviceProp_t has in any release (792 bytes in 5.2, 1472 in 6.0).
inline constexpr int kPropertiesBytes = 8192;

// The runtime of this machine, which stays loaded; `library` in the place of libamdhip64. Throws
// DeviceError that says what is missing.
gpu::DriverApi load_driver(const char* library = nullptr);

// What of the table is not a function of the driver.
void set_constants(gpu::DriverApi& api);

// The image compiled for exactly this architecture; nullptr: none.
const gpu::Image* choose_image(std::span<const gpu::Image> images, std::string_view architecture);

}  // namespace olx::kernels::hip
