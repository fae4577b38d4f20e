#include "tests/kernels/cuda/fake_cuda.h"

#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "kernels/api/registry.h"
#include "kernels/args_cast.h"
#include "kernels/simt/launch_table.h"

namespace olx::kernels::cuda {
namespace {

constexpr Result kInvalidContext = 201, kNotFound = 500, kLaunchFailed = 719;

struct State {
  FakeCuda fake;
  std::map<uintptr_t, size_t> allocations;
  std::vector<std::function<void()>> queue;
  bool is_lost = false;

  ~State() {
    for (const auto& [address, size] : allocations) std::free(reinterpret_cast<void*>(address));
  }
};

std::unique_ptr<State>& holder() {
  static std::unique_ptr<State> state = std::make_unique<State>();
  return state;
}
State& state() { return *holder(); }

// Any address that is not null.
int the_context, the_module, the_stream;
thread_local Handle current_context = nullptr;

// What every call does first: the script, and a device that is lost.
Result enter(const char* function, bool needs_context = true) {
  State& s = state();
  if (s.fake.fails_function == function && ++s.fake.n_calls_of_failing_function == s.fake.fails_at)
    return s.fake.fails_with;
  if (s.is_lost) return kLaunchFailed;
  if (needs_context && current_context == nullptr) {
    s.fake.misuse = std::string(function) + " without a context";
    return kInvalidContext;
  }
  return kSuccess;
}

bool is_ours(const void* from, size_t size_bytes) {
  const auto address = reinterpret_cast<uintptr_t>(from);
  auto next = state().allocations.upper_bound(address);
  if (next == state().allocations.begin()) return false;
  const auto& [begin, size] = *--next;
  return address >= begin && address + size_bytes <= begin + size;
}

// Every address in an op's arguments has to be the device's.
struct PointerCheck {
  const char* kernel;

  void memory(const void* from, int64_t size_bytes) const {
    if (from != nullptr && size_bytes > 0 && !is_ours(from, static_cast<size_t>(size_bytes)))
      state().fake.misuse = std::string(kernel) + " is given an address that is not the device's";
  }
  void matrix(const MatrixView& m) const {
    memory(m.data, ((m.n_rows - 1) * m.row_stride_elems + m.n_cols) * 4);
  }
  void activation(const ActivationView& x) const {
    const bool is_f32 = x.format == &kActivationF32;
    memory(x.data, is_f32 ? ((x.n_tokens - 1) * x.row_stride_elems + x.n_cols) * 4
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
};

const KernelRow& host_row(const char* name) {
  for (const KernelRow& row : KernelRegistry::instance().rows())
    if (std::strcmp(row.backend, "host_simt32") == 0 && std::strcmp(row.name, name) == 0)
      return row;
  std::abort();
}

Result launch(Handle function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
              unsigned block_y, unsigned block_z, unsigned, Handle stream, void** parameters,
              void**) {
  if (const Result result = enter("launch"); result != kSuccess) return result;
  const auto& row = *static_cast<const simt::LaunchRow*>(function);
  std::vector<std::byte> args(row.args_bytes);
  std::memcpy(args.data(), parameters[0], args.size());
  RowRange range;
  std::memcpy(&range, parameters[1], sizeof range);
  if (stream != &the_stream || grid_x == 0 || grid_y != 1 || grid_z != 1 || block_x == 0 ||
      block_x > 1024 || block_y != 1 || block_z != 1)
    state().fake.misuse = std::string(row.name) + " is launched with a shape that no device takes";
  const simt::Grid grid = row.grid(args.data(), range, 32);
  if (grid.n_blocks != grid_x || grid.n_threads != static_cast<int>(block_x))
    state().fake.misuse = std::string(row.name) + " is launched with the shape of another kernel";
  state().queue.push_back([&row, args, range] {
    State& s = state();
    if (std::exchange(s.fake.faults_at_next_launch, false)) s.is_lost = true;
    if (s.is_lost) return;
    visit_args(row.op, args.data(), PointerCheck{row.name});
    if (!s.fake.misuse.empty()) {
      s.is_lost = true;
      return;
    }
    host_row(row.name).run(args.data(), range);
    ++s.fake.n_launches;
  });
  return kSuccess;
}

}  // namespace

const char* const kFakeCudaFunctions[19] = {
    "init",           "device_count",   "device_get",      "device_name",   "device_attribute",
    "device_memory",  "retain_context", "release_context", "set_context",   "allocate_managed",
    "free",           "load_module",    "unload_module",   "find_function", "create_stream",
    "destroy_stream", "synchronize",    "launch",          "error_name"};

FakeCuda& begin_fake_cuda() {
  holder() = std::make_unique<State>();
  current_context = nullptr;
  return state().fake;
}

CudaApi fake_cuda_api() {
  CudaApi api{};
  api.init = [](unsigned) { return enter("init", false); };
  api.device_count = [](int* count) {
    *count = state().fake.n_devices;
    return enter("device_count", false);
  };
  api.device_get = [](DeviceOrdinal* device, int index) {
    *device = index;
    return enter("device_get", false);
  };
  api.device_name = [](char* name, int size_bytes, DeviceOrdinal) {
    std::strncpy(name, "Fake 100", static_cast<size_t>(size_bytes));
    return enter("device_name", false);
  };
  api.device_attribute = [](int* value, int attribute, DeviceOrdinal) {
    const FakeCuda& fake = state().fake;
    *value = attribute == kAttributeMajor   ? fake.major
             : attribute == kAttributeMinor ? fake.minor
                                            : fake.is_concurrent;
    return enter("device_attribute", false);
  };
  api.device_memory = [](size_t* size_bytes, DeviceOrdinal) {
    *size_bytes = size_t{1} << 33;
    return enter("device_memory", false);
  };
  api.retain_context = [](Handle* context, DeviceOrdinal) {
    if (const Result result = enter("retain_context", false); result != kSuccess) return result;
    *context = &the_context;
    ++state().fake.n_contexts;
    return kSuccess;
  };
  // Giving back works on a lost device too, and does so in spite of what it returns.
  api.release_context = [](DeviceOrdinal) {
    --state().fake.n_contexts;
    return enter("release_context", false);
  };
  api.set_context = [](Handle context) {
    current_context = context;
    return enter("set_context", false);
  };
  api.allocate_managed = [](uint64_t* address, size_t size_bytes, unsigned) {
    if (const Result result = enter("allocate_managed"); result != kSuccess) return result;
    void* memory = std::aligned_alloc(256, (size_bytes + 255) / 256 * 256);
    std::memset(memory, 0xCD, size_bytes);
    *address = reinterpret_cast<uintptr_t>(memory);
    state().allocations[*address] = size_bytes;
    ++state().fake.n_allocations;
    return kSuccess;
  };
  api.free = [](uint64_t address) {
    if (state().allocations.erase(address) != 1)
      state().fake.misuse = "frees what was not allocated";
    std::free(reinterpret_cast<void*>(address));
    --state().fake.n_allocations;
    return enter("free");
  };
  api.load_module = [](Handle* module, const void* image) {
    if (const Result result = enter("load_module"); result != kSuccess) return result;
    if (image == nullptr) state().fake.misuse = "loads no image";
    *module = &the_module;
    ++state().fake.n_modules;
    return kSuccess;
  };
  api.unload_module = [](Handle) {
    --state().fake.n_modules;
    return enter("unload_module");
  };
  api.find_function = [](Handle* function, Handle, const char* name) {
    if (const Result result = enter("find_function"); result != kSuccess) return result;
    const simt::LaunchRow* row = simt::find_launch(name);
    if (row == nullptr) return kNotFound;
    *function = const_cast<simt::LaunchRow*>(row);
    return kSuccess;
  };
  api.create_stream = [](Handle* stream, unsigned) {
    if (const Result result = enter("create_stream"); result != kSuccess) return result;
    *stream = &the_stream;
    ++state().fake.n_streams;
    return kSuccess;
  };
  api.destroy_stream = [](Handle) {
    --state().fake.n_streams;
    return enter("destroy_stream");
  };
  api.synchronize = [](Handle) {
    if (const Result result = enter("synchronize"); result != kSuccess) return result;
    for (const auto& work : std::exchange(state().queue, {})) work();
    return state().is_lost ? kLaunchFailed : kSuccess;
  };
  api.launch = launch;
  api.error_name = [](Result result, const char** name) {
    *name = result == kOutOfMemory    ? "CUDA_ERROR_OUT_OF_MEMORY"
            : result == kLaunchFailed ? "CUDA_ERROR_LAUNCH_FAILED"
                                      : nullptr;
    return enter("error_name", false);
  };
  return api;
}

}  // namespace olx::kernels::cuda
