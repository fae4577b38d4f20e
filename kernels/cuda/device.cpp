#include "kernels/cuda/device.h"

#include <climits>
#include <cstring>
#include <vector>

#include "kernels/api/registry.h"
#include "kernels/simt/launch_table.h"
#include "kernels/simt/staging.h"

namespace olx::kernels::cuda {
namespace {

constexpr int kWaveSize = 32;

void check(const CudaApi& api, Result result, const std::string& what) {
  if (result == kSuccess) return;
  const char* name = nullptr;
  api.error_name(result, &name);
  throw DeviceError("cuda: " + what + ": " + (name != nullptr ? name : "unknown error") + " (" +
                    std::to_string(result) + ")");
}

// What the driver gave, given back in the opposite order. In an order of its own from the device,
// for buffers outlive it.
class Session {
 public:
  Session(const CudaApi& api, std::span<const CudaImage> images) : api_(api) {
    check(api_, api_.init(0), "cuInit");
    int n_devices = 0;
    check(api_, api_.device_count(&n_devices), "cuDeviceGetCount");
    if (n_devices < 1) throw DeviceError("cuda: expected a device, the driver has none");
    check(api_, api_.device_get(&device_, 0), "cuDeviceGet");
    char name_bytes[256] = {};
    check(api_, api_.device_name(name_bytes, sizeof name_bytes - 1, device_), "cuDeviceGetName");
    name = name_bytes;
    check(api_, api_.device_memory(&memory_bytes, device_), "cuDeviceTotalMem");
    int major = 0, minor = 0, is_concurrent = 0;
    check(api_, api_.device_attribute(&major, kAttributeMajor, device_), "cuDeviceGetAttribute");
    check(api_, api_.device_attribute(&minor, kAttributeMinor, device_), "cuDeviceGetAttribute");
    check(api_, api_.device_attribute(&is_concurrent, kAttributeConcurrentManagedAccess, device_),
          "cuDeviceGetAttribute");
    const std::string capability = std::to_string(major) + "." + std::to_string(minor);
    name += ", compute capability " + capability;
    if (is_concurrent == 0)
      throw DeviceError("cuda: " + name +
                        ": expected memory that the processor can read beside it");
    const CudaImage* image = choose_image(images, major, minor);
    if (image == nullptr)
      throw DeviceError("cuda: " + name + ": this program has no kernels for it");
    try {
      check(api_, api_.retain_context(&context_, device_), "cuDevicePrimaryCtxRetain");
      use();
      check(api_, api_.load_module(&module_, image->bytes.data()), "cuModuleLoadData");
      check(api_, api_.create_stream(&stream, kStreamNonBlocking), "cuStreamCreate");
    } catch (...) {
      close();
      throw;
    }
  }
  ~Session() { close(); }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // The context belongs to a thread: every call from outside begins with this.
  void use() const { check(api_, api_.set_context(context_), "cuCtxSetCurrent"); }
  Handle find(const char* kernel) const {
    Handle function = nullptr;
    check(api_, api_.find_function(&function, module_, kernel),
          std::string("cuModuleGetFunction ") + kernel);
    return function;
  }
  const CudaApi& api() const { return api_; }

  std::string name;
  size_t memory_bytes = 0;
  Handle stream = nullptr;

 private:
  // Errors are of no use to anyone here.
  void close() {
    if (context_ == nullptr) return;
    api_.set_context(context_);
    if (stream != nullptr) api_.destroy_stream(stream);
    if (module_ != nullptr) api_.unload_module(module_);
    api_.release_context(device_);
  }

  CudaApi api_;
  DeviceOrdinal device_ = 0;
  Handle context_ = nullptr;
  Handle module_ = nullptr;
};

class ManagedBuffer final : public Buffer {
 public:
  ManagedBuffer(std::shared_ptr<const Session> session, size_t size_bytes)
      : session_(std::move(session)), size_bytes_(size_bytes) {
    session_->use();
    const size_t at_least_one = size_bytes > 0 ? size_bytes : 1;
    check(session_->api(),
          session_->api().allocate_managed(&address_, at_least_one, kMemAttachGlobal),
          "cannot allocate " + std::to_string(size_bytes) + " bytes");
    std::memset(data(), 0, at_least_one);
  }
  ~ManagedBuffer() override {
    session_->api().synchronize(session_->stream);  // a kernel may still write
    session_->api().free(address_);
  }
  ManagedBuffer(const ManagedBuffer&) = delete;
  ManagedBuffer& operator=(const ManagedBuffer&) = delete;
  void* data() override { return reinterpret_cast<void*>(address_); }
  void* host() override { return data(); }
  size_t size_bytes() const override { return size_bytes_; }

 private:
  std::shared_ptr<const Session>
      session_;  // shared: the context has to outlive whatever lies in it
  uint64_t address_ = 0;
  size_t size_bytes_;
};

class CudaDevice final : public Device {
 public:
  CudaDevice(const CudaApi& api, std::span<const CudaImage> images, const char* backend)
      : session_(std::make_shared<Session>(api, images)), staging_(*this) {
    for (const simt::LaunchRow& row : simt::launch_rows())
      functions_.push_back(session_->find(row.name));
    info_.backend = backend;
    info_.name = session_->name;
    info_.memory_bytes = session_->memory_bytes;
  }
  const DeviceInfo& info() const override { return info_; }
  std::unique_ptr<Buffer> allocate(size_t size_bytes) override {
    return std::make_unique<ManagedBuffer>(session_, size_bytes);
  }
  void parallel(void (*fn)(void* context, int part, int n_parts), void* context) override {
    fn(context, 0, 1);
  }

  void sync() override {
    session_->use();
    check(session_->api(), session_->api().synchronize(session_->stream), "cuStreamSynchronize");
  }

  // Enqueues; what the nodes of the step before have read is written over, so those are waited for.
  bool execute(std::span<const BoundNode> nodes, const std::atomic<bool>* cancel) override {
    sync();
    staging_.begin();
    for (const BoundNode& node : nodes) {
      if (cancel != nullptr && cancel->load(std::memory_order_relaxed)) {
        sync();  // the caller changes its arguments next
        return false;
      }
      launch(node);
    }
    return true;
  }

 private:
  void launch(const BoundNode& node) {
    const simt::LaunchRow* row = simt::find_launch(node.kernel->name);
    if (row == nullptr)
      throw DeviceError(std::string("cuda: there is no kernel ") + node.kernel->name);
    RowRange range{0, n_work_units(row->op, node.args)};
    if (range.size() == 0) return;
    const simt::Grid grid = row->grid(node.args, range, kWaveSize);
    if (grid.n_blocks > INT_MAX)
      throw DeviceError(std::string("cuda: ") + row->name +
                        ": expected at most 2^31 - 1 blocks, got " + std::to_string(grid.n_blocks));
    simt::StagedArgs args = staging_.stage(row->op, node.args, row->args_bytes);
    void* parameters[] = {args.bytes.data(), &range};
    const auto index = static_cast<size_t>(row - simt::launch_rows().data());
    check(session_->api(),
          session_->api().launch(functions_[index], static_cast<unsigned>(grid.n_blocks), 1, 1,
                                 static_cast<unsigned>(grid.n_threads), 1, 1, 0, session_->stream,
                                 parameters, nullptr),
          std::string("cuLaunchKernel ") + row->name);
  }

  std::shared_ptr<Session> session_;
  DeviceInfo info_;
  simt::Staging staging_;
  std::vector<Handle> functions_;  // of the launch rows
};

}  // namespace

const CudaImage* choose_image(std::span<const CudaImage> images, int major, int minor) {
  const CudaImage* best = nullptr;
  const auto version = [](const CudaImage& image) { return image.major * 100 + image.minor; };
  const auto is_better = [&](const CudaImage& image) {
    return best == nullptr || (best->is_ptx && !image.is_ptx) ||
           (best->is_ptx == image.is_ptx && version(image) > version(*best));
  };
  for (const CudaImage& image : images) {
    const bool is_own = image.major == major && image.minor == minor;
    const bool fits = image.is_exact ? is_own
                      : image.is_ptx ? version(image) <= major * 100 + minor
                                     : image.major == major && image.minor <= minor;
    if (fits && is_better(image)) best = &image;
  }
  return best;
}

std::unique_ptr<Device> open_cuda_device(const CudaApi& api, std::span<const CudaImage> images,
                                         const char* backend) {
  return std::make_unique<CudaDevice>(api, images, backend);
}

}  // namespace olx::kernels::cuda
