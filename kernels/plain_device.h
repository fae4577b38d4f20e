#pragma once
// A device of plain memory and one thread that runs rows whole and in order: what reference/ and
// host_simt/ have in common.

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <span>
#include <string>

#include "kernels/api/backend.h"
#include "kernels/api/registry.h"

namespace olx::kernels {

// Zeroed, at a multiple of 64 bytes.
class PlainBuffer : public Buffer {
 public:
  PlainBuffer(const std::string& backend, size_t size_bytes) : size_bytes_(size_bytes) {
    if (size_bytes > SIZE_MAX - kAlignBytes)
      throw DeviceError(backend + ": allocation size overflows");
    data_ = std::aligned_alloc(kAlignBytes, allocated_bytes());
    if (data_ == nullptr)
      throw DeviceError(backend + ": cannot allocate " + std::to_string(size_bytes) + " bytes");
    std::memset(data_, 0, allocated_bytes());
  }
  ~PlainBuffer() override { std::free(data_); }
  PlainBuffer(const PlainBuffer&) = delete;
  PlainBuffer& operator=(const PlainBuffer&) = delete;
  void* data() override { return data_; }
  void* host() override { return data_; }
  size_t size_bytes() const override { return size_bytes_; }

 protected:
  size_t allocated_bytes() const { return (size_bytes_ / kAlignBytes + 1) * kAlignBytes; }

 private:
  static constexpr size_t kAlignBytes = 64;
  void* data_ = nullptr;
  size_t size_bytes_;
};

class PlainDevice : public Device {
 public:
  PlainDevice(std::string backend, std::string name) {
    info_.backend = std::move(backend);
    info_.name = std::move(name);
  }
  const DeviceInfo& info() const override { return info_; }
  std::unique_ptr<Buffer> allocate(size_t size_bytes) override {
    return std::make_unique<PlainBuffer>(info_.backend, size_bytes);
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

}  // namespace olx::kernels
