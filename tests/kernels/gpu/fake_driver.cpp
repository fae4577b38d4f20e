#include "tests/kernels/gpu/fake_driver.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <iterator>
#include <map>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "kernels/api/registry.h"
#include "kernels/args_cast.h"
#include "kernels/cuda/driver.h"
#include "kernels/gpu/device.h"
#include "kernels/hip/driver.h"
#include "kernels/simt/launch_table.h"

namespace olx::kernels::gpu {
namespace {

constexpr Result kInvalidValue = 1, kNoDevice = 101, kInvalidContext = 201, kNotFound = 500,
                 kLaunchFailed = 719, kCaptureUnsupported = 900;

using Work = std::vector<std::function<void()>>;

struct State {
  FakeDriver fake;
  struct Allocation {
    size_t size_bytes;
    int device;
  };
  std::map<uintptr_t, Allocation> allocations;
  Work queues[FakeDriver::kMaxDevices];
  Work recorded;  // while the stream is capturing
  std::map<Handle, Work> graphs, executables;
  uintptr_t n_handles = 0;
  bool is_lost = false;

  ~State() {
    for (const auto& [address, _] : allocations) std::free(reinterpret_cast<void*>(address));
  }
};

std::unique_ptr<State>& holder() {
  static std::unique_ptr<State> state = std::make_unique<State>();
  return state;
}
State& state() { return *holder(); }

// Any addresses that are not null; contexts and streams, one a device.
int the_module, contexts[FakeDriver::kMaxDevices], streams[FakeDriver::kMaxDevices];
thread_local Handle current_context = nullptr;
int current_device() { return static_cast<int>(static_cast<int*>(current_context) - contexts); }
// What a stream of the present context has to do; nullptr: it is another's.
Work* queue_of(Handle stream) {
  const int device = current_device();
  return stream == &streams[device] ? &state().queues[device] : nullptr;
}

// What every call does first: the script, and a device that is lost.
Result enter(const char* function, bool needs_context = true) {
  State& s = state();
  ++s.fake.n_calls;
  if (s.fake.fails_function == function && ++s.fake.n_calls_of_failing_function == s.fake.fails_at)
    return s.fake.fails_with;
  if (s.is_lost) return kLaunchFailed;
  if (needs_context && current_context == nullptr) {
    s.fake.misuse = std::string(function) + " without a context";
    return kInvalidContext;
  }
  constexpr std::string_view kRecorded[] = {"launch", "end_capture"};
  if (needs_context && s.fake.is_capturing &&
      std::find(std::begin(kRecorded), std::end(kRecorded), function) == std::end(kRecorded)) {
    s.fake.misuse = std::string(function) + " while the stream records";
    return kCaptureUnsupported;
  }
  return kSuccess;
}

// Of this device, or of any (-1).
bool is_ours(const void* from, size_t size_bytes, int device = -1) {
  const auto address = reinterpret_cast<uintptr_t>(from);
  auto next = state().allocations.upper_bound(address);
  if (next == state().allocations.begin()) return false;
  const auto& [begin, allocation] = *--next;
  return address >= begin && address + size_bytes <= begin + allocation.size_bytes &&
         (device < 0 || device == allocation.device);
}

// Every address in an op's arguments has to be the device's.
struct PointerCheck {
  const char* kernel;
  int device;

  void memory(const void* from, int64_t size_bytes) const {
    if (from != nullptr && size_bytes > 0 &&
        !is_ours(from, static_cast<size_t>(size_bytes), device))
      state().fake.misuse = std::string(kernel) + " is given an address that is not the device's";
  }
  void matrix(const MatrixView& m) const {
    memory(m.data, ((m.n_rows - 1) * m.row_stride_elems + m.n_cols) * 4);
  }
  void activation(const ActivationView& x) const {
    memory(x.data, is_rows(*x.format) ? ((x.n_tokens - 1) * x.row_stride_elems + x.n_cols) * 4
                          : x.format->size_bytes(x.n_tokens, x.n_cols));
  }
  void weight(const WeightView& w) const {
    memory(w.data, w.n_rows * gguf::row_size_bytes(w.dtype, w.n_cols));
  }
  void cache(const KvView& kv, const TokenSlot* tokens, int64_t n_tokens) const {
    memory(kv.k, 1), memory(kv.v, 1),
        memory(tokens, n_tokens * static_cast<int64_t>(sizeof(TokenSlot)));
    for (int64_t i = 0; i < n_tokens; ++i)
      memory(kv.block_table + tokens[i].sequence * kv.max_blocks, kv.max_blocks * 4);
  }

  void operator()(const EmbedArgs& a) const {
    matrix(a.y), weight(a.table), memory(a.ids, a.y.n_rows * 4);
  }
  void operator()(const QuantizeArgs& a) const { activation(a.y), matrix(a.x); }
  void operator()(const MatmulArgs& a) const {
    matrix(a.y), activation(a.x), weight(a.w), memory(a.bias, a.w.n_rows * 4),
        memory(a.residual, 4);
  }
  void operator()(const RmsNormArgs& a) const {
    matrix(a.y), matrix(a.x), memory(a.weight, a.group_cols * 4);
  }
  void operator()(const RopeTableArgs& a) const {
    matrix(a.table), memory(a.tokens, a.table.n_rows * static_cast<int64_t>(sizeof(TokenSlot)));
    memory(a.config.freq_factors, a.config.n_rot / 2 * 4);
  }
  void operator()(const RopeArgs& a) const { matrix(a.x), matrix(a.table); }
  void operator()(const KvStoreArgs& a) const {
    matrix(a.k), matrix(a.v), cache(a.kv, a.tokens, a.k.n_rows);
  }
  void operator()(const AttentionArgs& a) const {
    matrix(a.y), matrix(a.q), cache(a.kv, a.tokens, a.q.n_rows), memory(a.sinks, a.n_heads * 4),
        memory(a.scratch, 4);
  }
  void operator()(const GatedActivationArgs& a) const { matrix(a.y), matrix(a.gate), matrix(a.up); }
  void operator()(const AddArgs& a) const { matrix(a.y), matrix(a.a), matrix(a.b); }
  void operator()(const ScaleArgs& a) const { matrix(a.y), matrix(a.x); }
  void operator()(const SoftcapArgs& a) const { matrix(a.y), matrix(a.x); }
  void operator()(const SoftmaxArgs& a) const { matrix(a.y), matrix(a.x); }
  void operator()(const GatedMatmulArgs& a) const {
    matrix(a.y), activation(a.x), memory(a.norm_weight, a.x.n_cols * 4), weight(a.gate),
        weight(a.up), memory(a.gate_bias, a.gate.n_rows * 4), memory(a.up_bias, a.up.n_rows * 4);
  }
  void operator()(const QkvMatmulArgs& a) const {
    matrix(a.y), activation(a.x), memory(a.norm_weight, a.x.n_cols * 4), weight(a.q), weight(a.k),
        weight(a.v), memory(a.q_bias, a.q.n_rows * 4), memory(a.k_bias, a.k.n_rows * 4),
        memory(a.v_bias, a.v.n_rows * 4);
    if (a.is_stored()) matrix(a.table), cache(a.kv, a.tokens, a.y.n_rows);
  }
  void operator()(const QkvStoreArgs& a) const {
    matrix(a.y), matrix(a.x), memory(a.q_norm, a.kv.head_dim * 4), memory(a.k_norm, a.kv.head_dim * 4), matrix(a.table),
        cache(a.kv, a.tokens, a.y.n_rows);
  }
  void operator()(const RmsNormAddArgs& a) const {
    matrix(a.y), matrix(a.x), matrix(a.residual), memory(a.weight, a.x.n_cols * 4);
  }
  void operator()(const TopKArgs& a) const {
    matrix(a.y), matrix(a.x), memory(a.y_ids, a.y.n_cols * 4), memory(a.x_ids, a.x.n_cols * 4);
  }
};

// The program's formats as those of this library, where it is one of its own: they are known by
// their addresses.
const ActivationFormat* own_format(const ActivationFormat* format) {
  for (const KernelRow& row : KernelRegistry::instance().rows())
    if (std::strcmp(row.activation->name, format->name) == 0 &&
        std::strcmp(row.backend, fake_backend()) == 0)
      return row.activation;
  return format;
}

void adopt_formats(Op op, void* args) {
  if (op == Op::kQuantize) {
    auto& quantize = *static_cast<QuantizeArgs*>(args);
    quantize.y.format = own_format(quantize.y.format);
  } else if (op == Op::kMatmul) {
    auto& matmul = *static_cast<MatmulArgs*>(args);
    matmul.x.format = own_format(matmul.x.format);
  } else if (op == Op::kGatedMatmul) {
    auto& matmul = *static_cast<GatedMatmulArgs*>(args);
    matmul.x.format = own_format(matmul.x.format);
  } else if (op == Op::kQkvMatmul) {
    auto& matmul = *static_cast<QkvMatmulArgs*>(args);
    matmul.x.format = own_format(matmul.x.format);
  }
}

Result launch(Handle function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
              unsigned block_y, unsigned block_z, unsigned, Handle stream, void** parameters,
              void**) {
  if (const Result result = enter("launch"); result != kSuccess) return result;
  const auto& row = *static_cast<const simt::LaunchRow*>(function);
  std::vector<std::byte> args(row.args_bytes);
  std::memcpy(args.data(), parameters[0], args.size());
  adopt_formats(row.op, args.data());
  RowRange range;
  std::memcpy(&range, parameters[1], sizeof range);
  Work* const queue = queue_of(stream);
  if (queue == nullptr || grid_x == 0 || grid_y != 1 || grid_z != 1 || block_x == 0 ||
      block_x > 1024 || block_y != 1 || block_z != 1)
    state().fake.misuse = std::string(row.name) + " is launched with a shape that no device takes";
  const simt::Grid grid = row.grid(args.data(), range, state().fake.wave_size);
  if (grid.n_blocks != grid_x || grid.n_threads != static_cast<int>(block_x))
    state().fake.misuse = std::string(row.name) + " is launched with the shape of another kernel";
  if (queue == nullptr) return kInvalidValue;
  Work& work = state().fake.is_capturing ? state().recorded : *queue;
  work.push_back([&row, args, range, device = current_device()] {
    State& s = state();
    if (s.fake.n_launches + 1 == s.fake.faults_at_launch) {
      s.is_lost = true;
      s.fake.faults_at_launch = 0;
    }
    if (s.is_lost) return;
    visit_args(row.op, args.data(), PointerCheck{row.name, device});
    if (!s.fake.misuse.empty()) {
      s.is_lost = true;
      return;
    }
    fake_row(row.name).run(args.data(), range);
    ++s.fake.n_launches;
    ++s.fake.devices[device].n_launches;
  });
  return kSuccess;
}

}  // namespace

const char* const kFakeFunctions[28] = {"init",
                                        "device_count",
                                        "device_get",
                                        "device_name",
                                        "device_attribute",
                                        "device_memory",
                                        "retain_context",
                                        "release_context",
                                        "set_context",
                                        "set_device",
                                        "memory_info",
                                        "allocate_managed",
                                        "free",
                                        "load_module",
                                        "unload_module",
                                        "find_function",
                                        "create_stream",
                                        "destroy_stream",
                                        "synchronize",
                                        "launch",
                                        "begin_capture",
                                        "end_capture",
                                        "instantiate_graph",
                                        "destroy_graph",
                                        "launch_graph",
                                        "destroy_executable",
                                        "error_name",
                                        "properties"};

FakeDriver& begin_fake_driver(FakeForm form, int wave_size) {
  holder() = std::make_unique<State>();
  current_context = nullptr;
  state().fake.form = form;
  state().fake.wave_size = wave_size;
  if (wave_size == 64) state().fake.architecture = "gfx90a:sramecc+:xnack-";
  return state().fake;
}

FakeDriver& fake_driver() { return state().fake; }

const char* fake_backend() { return state().fake.wave_size == 64 ? "host_simt64" : "host_simt32"; }

const KernelRow& fake_row(const char* name) {
  for (const KernelRow& row : KernelRegistry::instance().rows())
    if (std::strcmp(row.backend, fake_backend()) == 0 && std::strcmp(row.name, name) == 0)
      return row;
  std::abort();
}

const std::vector<FakeKind>& fake_kinds() {
  static const std::vector<FakeKind> kKinds = {
      {FakeForm::kCuda, 32}, {FakeForm::kHip, 32}, {FakeForm::kHip, 64}};
  return kKinds;
}

std::unique_ptr<Device> open_fake_device(int index) {
  return open_device(fake_driver_api(), fake_images(), fake_backend(), index);
}

bool is_fake_device_memory(const void* from, size_t size_bytes) {
  return is_ours(from, size_bytes);
}

std::span<const Image> fake_images() {
  static constexpr std::byte kBytes[1] = {};
  static const Image kCuda[] = {{"sm_80", 32, kBytes}};
  static const Image kHip32[] = {{"gfx1100", 32, kBytes}};
  static const Image kHip64[] = {{"gfx90a", 64, kBytes}};
  if (state().fake.form == FakeForm::kCuda) return kCuda;
  return state().fake.wave_size == 64 ? std::span<const Image>(kHip64) : kHip32;
}

namespace {

Result answer_attribute(int* value, int attribute, int) {
  const FakeDriver& fake = state().fake;
  const auto is = [&](int of_cuda, int of_hip) {
    return attribute == (fake.form == FakeForm::kCuda ? of_cuda : of_hip);
  };
  *value = -1;
  if (is(cuda::kAttributeMajor, -1)) *value = fake.major;
  if (is(cuda::kAttributeMinor, -1)) *value = fake.minor;
  if (is(cuda::kAttributeWaveSize, hip::kAttributeWaveSize)) *value = fake.wave_size;
  if (is(cuda::kAttributeConcurrentManagedAccess, hip::kAttributeConcurrentManagedAccess))
    *value = fake.is_concurrent;
  return enter("device_attribute", false);
}

size_t free_bytes_of(int device) {
  const FakeDriver& fake = state().fake;
  const FakeDriver::OfDevice& of = fake.devices[device];
  return fake.memory_bytes - std::min(fake.memory_bytes, of.taken_bytes + of.allocated_bytes);
}

Result allocate_managed(uint64_t* address, size_t size_bytes, unsigned) {
  if (const Result result = enter("allocate_managed"); result != kSuccess) return result;
  State& s = state();
  if (size_bytes > free_bytes_of(current_device())) return kOutOfMemory;
  void* memory = std::aligned_alloc(256, (size_bytes + 255) / 256 * 256);
  std::memset(memory, 0xCD, size_bytes);
  *address = reinterpret_cast<uintptr_t>(memory);
  s.allocations[*address] = {size_bytes, current_device()};
  ++s.fake.n_allocations;
  s.fake.allocated_bytes += size_bytes;
  s.fake.devices[current_device()].allocated_bytes += size_bytes;
  return kSuccess;
}

Result free_memory(uint64_t address) {
  State& s = state();
  const auto found = s.allocations.find(address);
  if (found == s.allocations.end()) {
    s.fake.misuse = "frees what was not allocated";
    return kInvalidContext;
  }
  const auto [size_bytes, device] = found->second;
  s.fake.allocated_bytes -= size_bytes;
  s.fake.devices[device].allocated_bytes -= size_bytes;
  s.allocations.erase(found);
  std::free(reinterpret_cast<void*>(address));
  --s.fake.n_allocations;
  return enter("free");
}

Result synchronize(Handle stream) {
  if (const Result result = enter("synchronize"); result != kSuccess) return result;
  Work* const queue = queue_of(stream);
  if (queue == nullptr) return kInvalidValue;
  for (const auto& work : std::exchange(*queue, {})) work();
  return state().is_lost ? kLaunchFailed : kSuccess;
}

Handle new_handle() { return reinterpret_cast<Handle>(++state().n_handles); }

Result begin_capture(Handle stream, int mode) {
  if (const Result result = enter("begin_capture"); result != kSuccess) return result;
  if (queue_of(stream) == nullptr || mode != kCaptureThreadLocal)
    state().fake.misuse = "records another stream than its own";
  state().fake.is_capturing = true;
  return kSuccess;
}

// The stream is one that runs again, also when this fails.
Result end_capture(Handle, Handle* graph) {
  State& s = state();
  *graph = nullptr;
  if (!s.fake.is_capturing) s.fake.misuse = "ends a record that it has not begun";
  const Result result = enter("end_capture");
  s.fake.is_capturing = false;
  const Work recorded = std::exchange(s.recorded, {});
  if (result != kSuccess) return result;
  *graph = new_handle();
  s.graphs[*graph] = recorded;
  ++s.fake.n_graphs;
  return kSuccess;
}

Result instantiate_graph(Handle* executable, Handle graph, unsigned long long) {
  if (const Result result = enter("instantiate_graph"); result != kSuccess) return result;
  State& s = state();
  const auto found = s.graphs.find(graph);
  if (found == s.graphs.end()) return kInvalidValue;
  *executable = new_handle();
  s.executables[*executable] = found->second;
  ++s.fake.n_executables;
  return kSuccess;
}

Result launch_graph(Handle executable, Handle stream) {
  if (const Result result = enter("launch_graph"); result != kSuccess) return result;
  State& s = state();
  const auto found = s.executables.find(executable);
  Work* const queue = queue_of(stream);
  if (found == s.executables.end() || queue == nullptr) return kInvalidValue;
  queue->insert(queue->end(), found->second.begin(), found->second.end());
  return kSuccess;
}

// As everything that gives back, these do so whatever they return.
Result destroy_graph(Handle graph) {
  if (state().graphs.erase(graph) == 0) state().fake.misuse = "destroys a graph that is not there";
  --state().fake.n_graphs;
  return enter("destroy_graph");
}
Result destroy_executable(Handle executable) {
  if (state().executables.erase(executable) == 0)
    state().fake.misuse = "destroys an executable graph that is not there";
  if (!state().queues[current_device()].empty() && !state().is_lost)
    state().fake.misuse = "destroys an executable graph that may run";
  --state().fake.n_executables;
  return enter("destroy_executable");
}

void set_graphs(DriverApi& api) {
  api.begin_capture = {begin_capture, "begin_capture"};
  api.end_capture = {end_capture, "end_capture"};
  api.instantiate_graph = {instantiate_graph, "instantiate_graph"};
  api.destroy_graph = {destroy_graph, "destroy_graph"};
  api.launch_graph = {launch_graph, "launch_graph"};
  api.destroy_executable = {destroy_executable, "destroy_executable"};
}

const char* error_text(Result result) {
  return result == kOutOfMemory    ? "ERROR_OUT_OF_MEMORY"
         : result == kLaunchFailed ? "ERROR_LAUNCH_FAILED"
                                   : nullptr;
}

// A thread's context, as CUDA has it.
void set_contexts(DriverApi& api) {
  api.retain_context = {[](Handle* context, int device) {
                          const Result result = enter("retain_context", false);
                          if (result != kSuccess) return result;
                          *context = &contexts[device];
                          ++state().fake.n_contexts;
                          return kSuccess;
                        },
                        "retain_context"};
  // Giving back works on a lost device too, and does so in spite of what it returns. The fault is
  // the context's and goes with it.
  api.release_context = {[](int) {
                           if (--state().fake.n_contexts == 0) state().is_lost = false;
                           return enter("release_context", false);
                         },
                         "release_context"};
  api.set_context = {[](Handle context) {
                       current_context = context;
                       return enter("set_context", false);
                     },
                     "set_context"};
  api.error_name = {[](Result result, const char** name) {
                      *name = error_text(result);
                      return enter("error_name", false);
                    },
                    "error_name"};
}

// A thread's device, as HIP has it, and properties in the layout of no release: the architecture
// stands somewhere behind the name.
void set_devices(DriverApi& api) {
  api.set_device = {[](int device) {
                      if (device >= state().fake.n_devices) return kNoDevice;
                      const Result result = enter("set_device", false);
                      if (result == kSuccess) current_context = &contexts[device];
                      return result;
                    },
                    "set_device"};
  api.properties = {[](void* properties, int) {
                      auto* bytes = static_cast<char*>(properties);
                      std::strcpy(bytes, "Fake gfx");
                      std::strcpy(bytes + 1160, state().fake.architecture.c_str());
                      return enter("properties", false);
                    },
                    "properties"};
  api.error_text = error_text;
}

}  // namespace

DriverApi fake_driver_api() {
  const bool is_cuda = state().fake.form == FakeForm::kCuda;
  DriverApi api;
  is_cuda ? cuda::set_constants(api) : hip::set_constants(api);
  is_cuda ? set_contexts(api) : set_devices(api);
  if (state().fake.has_graphs) set_graphs(api);
  api.init = {[](unsigned) { return enter("init", false); }, "init"};
  api.device_count = {[](int* count) {
                        *count = state().fake.n_devices;
                        return enter("device_count", false);
                      },
                      "device_count"};
  api.device_get = {[](int* device, int index) {
                      *device = index;
                      return enter("device_get", false);
                    },
                    "device_get"};
  api.device_name = {[](char* name, int size_bytes, int) {
                       std::strncpy(name, "Fake gfx", static_cast<size_t>(size_bytes));
                       return enter("device_name", false);
                     },
                     "device_name"};
  api.device_attribute = {answer_attribute, "device_attribute"};
  api.device_memory = {[](size_t* size_bytes, int) {
                         *size_bytes = state().fake.memory_bytes;
                         return enter("device_memory", false);
                       },
                       "device_memory"};
  api.memory_info = {[](size_t* free_bytes, size_t* size_bytes) {
                       const Result result = enter("memory_info");
                       if (result != kSuccess) return result;
                       *size_bytes = state().fake.memory_bytes;
                       *free_bytes = free_bytes_of(current_device());
                       return kSuccess;
                     },
                     "memory_info"};
  api.allocate_managed = {allocate_managed, "allocate_managed"};
  api.free = {free_memory, "free"};
  api.load_module = {[](Handle* module, const void* image) {
                       const Result result = enter("load_module");
                       if (result != kSuccess) return result;
                       if (image == nullptr) state().fake.misuse = "loads no image";
                       *module = &the_module;
                       ++state().fake.n_modules;
                       return kSuccess;
                     },
                     "load_module"};
  api.unload_module = {[](Handle) {
                         --state().fake.n_modules;
                         return enter("unload_module");
                       },
                       "unload_module"};
  api.find_function = {[](Handle* function, Handle, const char* name) {
                         const Result result = enter("find_function");
                         if (result != kSuccess) return result;
                         const simt::LaunchRow* row = simt::find_launch(name);
                         if (row == nullptr) return kNotFound;
                         *function = const_cast<simt::LaunchRow*>(row);
                         return kSuccess;
                       },
                       "find_function"};
  api.create_stream = {[](Handle* stream, unsigned) {
                         const Result result = enter("create_stream");
                         if (result != kSuccess) return result;
                         *stream = &streams[current_device()];
                         ++state().fake.n_streams;
                         return kSuccess;
                       },
                       "create_stream"};
  api.destroy_stream = {[](Handle) {
                          --state().fake.n_streams;
                          return enter("destroy_stream");
                        },
                        "destroy_stream"};
  api.synchronize = {synchronize, "synchronize"};
  api.launch = {launch, "launch"};
  return api;
}

namespace {

void read_environment() {
  FakeDriver& fake = state().fake;
  const bool is_cuda = fake.form == FakeForm::kCuda;
  const char* n = std::getenv(is_cuda ? "CUDA_FAKE_DEVICES" : "HIP_FAKE_DEVICES");
  fake.n_devices = n != nullptr ? std::clamp(std::atoi(n), 0, FakeDriver::kMaxDevices) : 1;
  const char* name = std::getenv(is_cuda ? "CUDA_FAKE_ARCHITECTURE" : "HIP_FAKE_ARCHITECTURE");
  if (name == nullptr) return;
  fake.architecture = name;
  fake.major = std::atoi(name);
  fake.minor = std::atoi(name + fake.architecture.find('.') + 1);
}

}  // namespace

DriverApi fake_library_api(FakeForm form) {
  begin_fake_driver(form);
  DriverApi api = fake_driver_api();
  api.init.function = [](unsigned) {
    read_environment();
    return enter("init", false);
  };
  return api;
}

}  // namespace olx::kernels::gpu
