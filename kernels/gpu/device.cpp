#include "kernels/gpu/device.h"

#include <climits>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "kernels/gpu/step_graphs.h"
#include "kernels/simt/launch_table.h"
#include "kernels/simt/staging.h"

namespace olx::kernels::gpu {
namespace {

int count_devices(const DriverApi& api) {
  check(api, api.init(0), api.init.name);
  int n_devices = 0;
  check(api, api.device_count(&n_devices), api.device_count.name);
  if (n_devices < 1)
    throw DeviceError(std::string(api.backend) + ": expected a device, the driver has none");
  return n_devices;
}

// A device of the driver, that nothing has been asked of yet.
struct Identity {
  int device = 0;
  std::string architecture;
  DeviceInfo info;

  Identity(const DriverApi& api, int index) {
    check(api, api.device_get(&device, index), api.device_get.name);
    char name_bytes[256] = {};
    check(api, api.device_name(name_bytes, sizeof name_bytes - 1, device), api.device_name.name);
    size_t size_bytes = 0;
    check(api, api.device_memory(&size_bytes, device), api.device_memory.name);
    architecture = api.architecture(api, device);
    info = {.backend = api.backend,
            .name = std::string(name_bytes) + ", " + architecture,
            .index = index,
            .memory_bytes = size_bytes};
  }
  std::string prefix() const { return info.backend + ": " + info.name + ": "; }
};

// What the driver gave, given back in the opposite order. In an order of its own from the device,
// for buffers outlive it.
class Session {
 public:
  Session(const DriverApi& api, std::span<const Image> images, int index) : api_(api) {
    const int n_devices = count_devices(api_);
    if (index < 0 || index >= n_devices)
      throw DeviceError(std::string(api_.backend) + ": expected a device below " +
                        std::to_string(n_devices) + ", got " + std::to_string(index));
    const Identity identity(api_, index);
    device_ = identity.device;
    info = identity.info;
    int is_concurrent = 0;
    check(api_, api_.device_attribute(&is_concurrent, api_.attribute_concurrent_managed, device_),
          api_.device_attribute.name);
    check(api_, api_.device_attribute(&wave_size, api_.attribute_wave_size, device_),
          api_.device_attribute.name);
    if (is_concurrent == 0)
      throw DeviceError(identity.prefix() +
                        "expected memory that the processor can read beside it");
    const Image* image = api_.choose_image(images, identity.architecture);
    if (image == nullptr)
      throw DeviceError(identity.prefix() + "this program has no kernels for it");
    if (image->wave_size != wave_size)
      throw DeviceError(identity.prefix() + "expected waves of " +
                        std::to_string(image->wave_size) + " lanes, got " +
                        std::to_string(wave_size));
    try {
      if (api_.retain_context.function != nullptr)
        check(api_, api_.retain_context(&context_, device_), api_.retain_context.name);
      is_open_ = true;
      use();
      check(api_, api_.load_module(&module_, image->bytes.data()), api_.load_module.name);
      check(api_, api_.create_stream(&stream, kStreamNonBlocking), api_.create_stream.name);
    } catch (...) {
      close();
      throw;
    }
  }
  ~Session() { close(); }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // The context belongs to a thread: every call from outside begins with this.
  void use() const {
    if (api_.set_device.function != nullptr)
      check(api_, api_.set_device(device_), api_.set_device.name);
    else
      check(api_, api_.set_context(context_), api_.set_context.name);
  }
  // The same where an error is of no use to anyone: while things are given back.
  void use_anyway() const {
    if (api_.set_device.function != nullptr)
      api_.set_device(device_);
    else
      api_.set_context(context_);
  }
  Handle find(const char* kernel) const {
    Handle function = nullptr;
    check(api_, api_.find_function(&function, module_, kernel),
          std::string(api_.find_function.name) + " " + kernel);
    return function;
  }
  const DriverApi& api() const { return api_; }

  DeviceInfo info;
  int wave_size = 0;
  Handle stream = nullptr;

 private:
  void close() {
    if (!is_open_) return;
    use_anyway();
    if (stream != nullptr) api_.destroy_stream(stream);
    if (module_ != nullptr) api_.unload_module(module_);
    if (api_.release_context.function != nullptr) api_.release_context(device_);
  }

  DriverApi api_;
  int device_ = 0;
  bool is_open_ = false;
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
    session_->use_anyway();                         // any thread may let go of it
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

class GpuDevice final : public Device {
 public:
  GpuDevice(const DriverApi& api, std::span<const Image> images, const char* backend, int index)
      : session_(std::make_shared<Session>(api, images, index)),
        staging_(*this),
        graphs_(session_->api(), session_->stream) {
    if (const char* wanted = std::getenv("OLLAMAX_GPU_GRAPHS"); wanted != nullptr)
      if (std::string_view(wanted) == "0") graphs_.turn_off();
    for (const simt::LaunchRow& row : simt::launch_rows())
      functions_.push_back(session_->find(row.name));
    info_ = session_->info;
    info_.backend = backend;
  }
  ~GpuDevice() override {
    session_->use_anyway();                         // any thread may let go of it
    session_->api().synchronize(session_->stream);  // a graph may still run
  }
  GpuDevice(const GpuDevice&) = delete;
  GpuDevice& operator=(const GpuDevice&) = delete;
  const DeviceInfo& info() const override { return info_; }
  std::unique_ptr<Buffer> allocate(size_t size_bytes) override {
    return std::make_unique<ManagedBuffer>(session_, size_bytes);
  }
  std::optional<uint64_t> free_bytes() override {
    session_->use();
    size_t n_free = 0, n_all = 0;
    check(session_->api(), session_->api().memory_info(&n_free, &n_all),
          session_->api().memory_info.name);
    return n_free;
  }
  uint64_t staging_bytes(std::span<const uint64_t> array_bytes) const override {
    return simt::Staging::most_bytes(array_bytes);
  }
  void reserve_staging(std::span<const uint64_t> array_bytes) override {
    sync();
    staging_.reserve(array_bytes);
  }
  void parallel(void (*fn)(void* context, int part, int n_parts), void* context) override {
    fn(context, 0, 1);
  }

  void sync() override {
    session_->use();
    check(session_->api(), session_->api().synchronize(session_->stream),
          session_->api().synchronize.name);
  }

  // Enqueues; what the nodes of the step before have read is written over, so those are waited for.
  bool execute(std::span<const BoundNode> nodes, const std::atomic<bool>* cancel) override {
    sync();
    staging_.begin();
    step_.clear();
    for (const BoundNode& node : nodes) add(node);
    if (graphs_.run(step_, cancel)) return true;
    sync();  // the caller changes its arguments next
    return false;
  }

 private:
  void add(const BoundNode& node) {
    const simt::LaunchRow* row = simt::find_launch(node.kernel->name);
    if (row == nullptr)
      throw DeviceError(std::string(session_->api().backend) + ": there is no kernel " +
                        node.kernel->name);
    const RowRange range{0, n_work_units(row->op, node.args)};
    if (range.size() == 0) return;
    const simt::Grid grid = row->grid(node.args, range, session_->wave_size);
    if (grid.n_blocks > INT_MAX)
      throw DeviceError(std::string(session_->api().backend) + ": " + row->name +
                        ": expected at most 2^31 - 1 blocks, got " + std::to_string(grid.n_blocks));
    step_.push_back({.function = functions_[static_cast<size_t>(row - simt::launch_rows().data())],
                     .name = row->name,
                     .n_blocks = static_cast<unsigned>(grid.n_blocks),
                     .n_threads = static_cast<unsigned>(grid.n_threads),
                     .args_bytes = row->args_bytes,
                     .args = staging_.stage(row->op, node.args, row->args_bytes),
                     .range = range});
  }

  std::shared_ptr<Session> session_;
  DeviceInfo info_;
  simt::Staging staging_;
  StepGraphs graphs_;
  std::vector<Handle> functions_;  // of the launch rows
  std::vector<Launch> step_;       // that is being put together; kept to avoid allocation
};

}  // namespace

std::unique_ptr<Device> open_device(const DriverApi& api, std::span<const Image> images,
                                    const char* backend, int index) {
  return std::make_unique<GpuDevice>(api, images, backend, index);
}

std::vector<DeviceInfo> list_devices(const DriverApi& api, std::span<const Image> images) {
  std::vector<DeviceInfo> devices;
  std::string others;
  const int n_devices = count_devices(api);
  for (int index = 0; index < n_devices; ++index) {
    const Identity identity(api, index);
    if (api.choose_image(images, identity.architecture) != nullptr)
      devices.push_back(identity.info);
    else
      others += (others.empty() ? "" : "; ") + identity.info.name;
  }
  if (devices.empty())
    throw DeviceError(std::string(api.backend) + ": " + others +
                      ": this program has no kernels for it");
  return devices;
}

}  // namespace olx::kernels::gpu
