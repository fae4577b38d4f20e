// The reference device: plain memory, one thread, rows run whole and in order. Slow and obvious on purpose.

#include <cstdlib>

#include "kernels/backend_rows.h"
#include "kernels/plain_device.h"
#include "kernels/reference/wide.h"

namespace olx::kernels::reference {
namespace {

// With a double beside each of its floats, for values between ops.
class WideBuffer final : public PlainBuffer {
 public:
  WideBuffer(const std::string& backend, size_t size_bytes) : PlainBuffer(backend, size_bytes) {
    // Large zeroed memory costs nothing until it is touched, and only values between ops touch theirs.
    wide_ = static_cast<double*>(std::calloc(allocated_bytes() / sizeof(float), sizeof(double)));
    if (wide_ != nullptr) add_wide_memory(data(), size_bytes, wide_);
  }
  ~WideBuffer() override {
    remove_wide_memory(data());
    std::free(wide_);
  }

 private:
  double* wide_ = nullptr;
};

class ReferenceDevice final : public PlainDevice {
 public:
  ReferenceDevice() : PlainDevice("reference", "double precision, 1 thread") {}
  std::unique_ptr<Buffer> allocate(size_t size_bytes) override {
    return std::make_unique<WideBuffer>(info().backend, size_bytes);
  }
};

}  // namespace

std::unique_ptr<Device> open(const DeviceOptions&) { return std::make_unique<ReferenceDevice>(); }
std::vector<DeviceInfo> devices() { return {ReferenceDevice().info()}; }

}  // namespace olx::kernels::reference
