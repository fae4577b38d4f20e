// The devices host_simt32 and host_simt64: plain memory, one thread, kernels run lane by lane. They
// show that kernels for devices which are not here are right; nobody would choose them for speed.

#include "kernels/backend_rows.h"
#include "kernels/plain_device.h"

namespace olx::kernels {
namespace {

std::unique_ptr<Device> open_waves_of(int wave_size) {
  const std::string size = std::to_string(wave_size);
  return std::make_unique<PlainDevice>("host_simt" + size, "waves of " + size + " lanes on the CPU");
}

}  // namespace

std::unique_ptr<Device> host_simt32::open(const DeviceOptions&) { return open_waves_of(32); }
std::unique_ptr<Device> host_simt64::open(const DeviceOptions&) { return open_waves_of(64); }
std::vector<DeviceInfo> host_simt32::devices() { return {open_waves_of(32)->info()}; }
std::vector<DeviceInfo> host_simt64::devices() { return {open_waves_of(64)->info()}; }

}  // namespace olx::kernels
