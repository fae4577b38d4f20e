// The reference device: plain memory, one thread, rows run whole and in order. Slow and obvious on purpose.

#include <cstdlib>
#include <cstring>
#include <new>
#include <string>

#include "kernels/backend_rows.h"
#include "kernels/reference/wide.h"

namespace olx::kernels::reference {
namespace {

constexpr size_t kAlignBytes = 64;

class HostBuffer final : public Buffer {
 public:
  explicit HostBuffer(size_t size_bytes)
      : data_(std::aligned_alloc(kAlignBytes, rounded(size_bytes))), size_bytes_(size_bytes) {
    if (data_ == nullptr) throw DeviceError("reference: cannot allocate " + std::to_string(size_bytes) + " bytes");
    std::memset(data_, 0, rounded(size_bytes));
    // Large zeroed memory costs nothing until it is touched, and only values between ops touch theirs.
    wide_ = static_cast<double*>(std::calloc(rounded(size_bytes) / sizeof(float), sizeof(double)));
    if (wide_ != nullptr) add_wide_memory(data_, size_bytes, wide_);
  }
  ~HostBuffer() override {
    remove_wide_memory(data_);
    std::free(wide_);
    std::free(data_);
  }
  HostBuffer(const HostBuffer&) = delete;
  HostBuffer& operator=(const HostBuffer&) = delete;
  void* data() override { return data_; }
  void* host() override { return data_; }
  size_t size_bytes() const override { return size_bytes_; }

 private:
  static size_t rounded(size_t size_bytes) {
    if (size_bytes > SIZE_MAX - kAlignBytes) throw DeviceError("reference: allocation size overflows");
    const size_t n_lines = size_bytes / kAlignBytes + 1;
    return n_lines * kAlignBytes;
  }
  void* data_;
  double* wide_ = nullptr;
  size_t size_bytes_;
};

class ReferenceDevice final : public Device {
 public:
  ReferenceDevice() {
    info_.backend = "reference";
    info_.name = "double precision, 1 thread";
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
  void parallel(void (*fn)(void* context, int part, int n_parts), void* context) override { fn(context, 0, 1); }

 private:
  DeviceInfo info_;
};

}  // namespace

std::unique_ptr<Device> open(const DeviceOptions&) { return std::make_unique<ReferenceDevice>(); }

}  // namespace olx::kernels::reference
