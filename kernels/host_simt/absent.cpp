// What backends.inc promises, in a build without Boost.Context.

#include "kernels/backend_rows.h"

namespace olx::kernels {
namespace {
[[noreturn]] void refuse() {
  throw DeviceError(std::string("host_simt: ") + OLLAMAX_HOST_SIMT_MISSING);
}
}  // namespace

std::unique_ptr<Device> host_simt32::open(const DeviceOptions&) { refuse(); }
std::unique_ptr<Device> host_simt64::open(const DeviceOptions&) { refuse(); }
std::vector<DeviceInfo> host_simt32::devices() { refuse(); }
std::vector<DeviceInfo> host_simt64::devices() { refuse(); }
std::span<const KernelRow> host_simt32::rows() { return {}; }
std::span<const KernelRow> host_simt64::rows() { return {}; }

}  // namespace olx::kernels
