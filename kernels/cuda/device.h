#pragma once
// An NVIDIA device: memory that the processor sees too (managed), one stream, the kernels of simt/
// by name. Talks to the driver through CudaApi alone, so that tests run it on one of their own.

#include <memory>
#include <span>

#include "kernels/api/backend.h"
#include "kernels/cuda/api.h"

namespace olx::kernels::cuda {

// Compiled kernels: machine code for one architecture, or PTX, which the driver compiles and which
// ends with a 0 byte.
struct CudaImage {
  int major = 0;
  int minor = 0;
  bool is_ptx = false;
  bool is_exact = false;  // code like sm_90a, for this compute capability and no other
  std::span<const std::byte> bytes;
};

// The image for a compute capability: its own code, else the latest code of an earlier minor
// version of the same major one, else the latest PTX that is not later; nullptr: none fits.
const CudaImage* choose_image(std::span<const CudaImage> images, int major, int minor);

// The first device of the driver. `backend` is the one whose kernel rows plans take. Calls may come
// from any thread, one at a time. Throws DeviceError naming the call that failed and the driver's
// word for the error; so does everything the device does later, and after a fault in a kernel all
// of it.
std::unique_ptr<Device> open_cuda_device(const CudaApi& api, std::span<const CudaImage> images,
                                         const char* backend);

}  // namespace olx::kernels::cuda
