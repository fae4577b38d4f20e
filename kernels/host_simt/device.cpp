// The devices host_simt32 and host_simt64: plain memory, one thread, kernels run lane by lane. They
// show that kernels for devices which are not here are right; nobody would choose them for speed.

#include <cstdlib>
#include <cstring>
#include <string>

#include "kernels/api/registry.h"
#include "kernels/backend_rows.h"

namespace olx::kernels {
namespace host_simt {
namespace {

constexpr size_t kAlignBytes = 64;

class HostBuffer final : public Buffer {
 public:
  explicit HostBuffer(size_t size_bytes) : size_bytes_(size_bytes) {
    if (size_bytes > SIZE_MAX - kAlignBytes)
      throw DeviceError("host_simt: allocation size overflows");
    const size_t rounded = (size_bytes / kAlignBytes + 1) * kAlignBytes;
    data_ = std::aligned_alloc(kAlignBytes, rounded);
    if (data_ == nullptr)
      throw DeviceError("host_simt: cannot allocate " + std::to_string(size_bytes) + " bytes");
    std::memset(data_, 0, rounded);
  }
  ~HostBuffer() override { std::free(data_); }
  HostBuffer(const HostBuffer&) = delete;
  HostBuffer& operator=(const HostBuffer&) = delete;
  void* data() override { return data_; }
  void* host() override { return data_; }
  size_t size_bytes() const override { return size_bytes_; }

 private:
  void* data_ = nullptr;
  size_t size_bytes_;
};

class HostSimtDevice final : public Device {
 public:
  explicit HostSimtDevice(int wave_size) {
    info_.backend = "host_simt" + std::to_string(wave_size);
    info_.name = "waves of " + std::to_string(wave_size) + " lanes on the CPU";
  }
  const DeviceInfo& info() const override { return info_; }
  std::unique_ptr<Buffer> allocate(size_t size_bytes) override {
    return std::make_unique<HostBuffer>(size_bytes);
  }
  bool execute(std::span<const BoundNode> nodes, const std::atomic<bool>* cancel) override {
    for (const BoundNode& node : nodes) {
      if (cancel != nullptr && cancel->load(std::memory_order_relaxed)) return false;
      node.kernel->run(node.args, {0, n_work_units(node.kernel->op, node.args)});
    }
    return true;
  }
  void sync() override {}
  void parallel(void (*fn)(void* context, int part, int n_parts), void* context) override {
    fn(context, 0, 1);
  }

 private:
  DeviceInfo info_;
};

}  // namespace
}  // namespace host_simt

std::unique_ptr<Device> host_simt32::open(const DeviceOptions&) {
  return std::make_unique<host_simt::HostSimtDevice>(32);
}
std::unique_ptr<Device> host_simt64::open(const DeviceOptions&) {
  return std::make_unique<host_simt::HostSimtDevice>(64);
}

}  // namespace olx::kernels
