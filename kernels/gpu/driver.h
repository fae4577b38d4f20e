#pragma once
// What this program asks of the driver of a GPU, as a table of functions that are found when it
// runs: one binary serves machines with and without a driver, and tests put functions of their own
// in their place. CUDA and HIP differ in names and in little else; cuda/driver.cpp and
// hip/driver.cpp fill the table, without a vendor's header. Used by device.cpp.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace olx::kernels::gpu {

using Result = int;    // CUresult, hipError_t; 0 is success, and 2 "out of memory", with both
using Handle = void*;  // a context, module, function, stream or graph

inline constexpr Result kSuccess = 0;
inline constexpr Result kOutOfMemory = 2;
inline constexpr unsigned kMemAttachGlobal = 1;
inline constexpr unsigned kStreamNonBlocking = 1;
// While a stream records, its thread makes no call that could not be recorded; others may.
inline constexpr int kCaptureThreadLocal = 1;

// Compiled kernels for an architecture, for as long as the program runs.
struct Image {
  const char* architecture = "";  // "sm_80"; "compute_80": PTX, which the driver compiles; "gfx90a"
  int wave_size = 32;             // that it was compiled for
  std::span<const std::byte> bytes;  // PTX ends with a 0 byte
};

// A function and the name that the driver exports it by.
template <typename Signature>
struct DriverFunction;
template <typename... Args>
struct DriverFunction<Result(Args...)> {
  Result (*function)(Args...) = nullptr;
  const char* name = "";
  Result operator()(Args... args) const { return function(args...); }
};

struct DriverApi {
  const char* backend = "";  // "cuda", "hip": begins every message
  // Numbers of attributes of a device.
  int attribute_concurrent_managed = 0;  // processor and device may use managed memory side by side
  int attribute_wave_size = 0;

  DriverFunction<Result(unsigned flags)> init;
  DriverFunction<Result(int* count)> device_count;
  DriverFunction<Result(int* device, int index)> device_get;
  DriverFunction<Result(char* name, int size_bytes, int device)> device_name;
  DriverFunction<Result(int* value, int attribute, int device)> device_attribute;
  DriverFunction<Result(size_t* size_bytes, int device)> device_memory;
  // CUDA: the device's context, which a thread has to set. HIP has none: a thread sets the device.
  DriverFunction<Result(Handle* context, int device)> retain_context;
  DriverFunction<Result(int device)> release_context;
  DriverFunction<Result(Handle context)> set_context;
  DriverFunction<Result(int device)> set_device;
  DriverFunction<Result(size_t* free_bytes, size_t* size_bytes)> memory_info;
  DriverFunction<Result(uint64_t* address, size_t size_bytes, unsigned flags)> allocate_managed;
  DriverFunction<Result(uint64_t address)> free;
  DriverFunction<Result(Handle* module, const void* image)> load_module;
  DriverFunction<Result(Handle module)> unload_module;
  DriverFunction<Result(Handle* function, Handle module, const char* name)> find_function;
  DriverFunction<Result(Handle* stream, unsigned flags)> create_stream;
  DriverFunction<Result(Handle stream)> destroy_stream;
  DriverFunction<Result(Handle stream)> synchronize;
  DriverFunction<Result(Handle function, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                        unsigned block_x, unsigned block_y, unsigned block_z, unsigned shared_bytes,
                        Handle stream, void** parameters, void** extra)>
      launch;
  // Launches that a stream records in the place of running them, and one call that starts them all.
  // Old drivers lack these.
  DriverFunction<Result(Handle stream, int mode)> begin_capture;
  DriverFunction<Result(Handle stream, Handle* graph)> end_capture;
  DriverFunction<Result(Handle* executable, Handle graph, unsigned long long flags)>
      instantiate_graph;
  DriverFunction<Result(Handle graph)> destroy_graph;
  DriverFunction<Result(Handle executable, Handle stream)> launch_graph;
  DriverFunction<Result(Handle executable)> destroy_executable;
  bool has_graphs() const {
    return begin_capture.function != nullptr && end_capture.function != nullptr &&
           instantiate_graph.function != nullptr && destroy_graph.function != nullptr &&
           launch_graph.function != nullptr && destroy_executable.function != nullptr;
  }
  DriverFunction<Result(Result result, const char** name)> error_name;  // CUDA
  const char* (*error_text)(Result result) = nullptr;                   // HIP
  DriverFunction<Result(void* properties, int device)> properties;      // HIP

  // "sm_86", "gfx90a": as Image::architecture. Throws DeviceError.
  std::string (*architecture)(const DriverApi& api, int device) = nullptr;
  // The image that a device of this architecture runs best; nullptr: none.
  const Image* (*choose_image)(std::span<const Image> images,
                               std::string_view architecture) = nullptr;
};

// Throws DeviceError "cuda: WHAT: CUDA_ERROR_… (2)" for everything but success.
void check(const DriverApi& api, Result result, const std::string& what);

// A shared library that stays loaded. Throws DeviceError: it is not there.
class DriverLibrary {
 public:
  // `names`: the first of these that there is. `what` is missing otherwise: "an NVIDIA driver".
  DriverLibrary(const char* backend, std::span<const std::string> names, const char* what);
  // Throws DeviceError naming what the library should export.
  template <typename Signature>
  void find(DriverFunction<Signature>& entry, const char* name) const {
    entry.function = reinterpret_cast<decltype(entry.function)>(require(name));
    entry.name = name;
  }
  // The same, where the library may do without it: the entry then has no function.
  template <typename Signature>
  void find_optional(DriverFunction<Signature>& entry, const char* name) const {
    entry.function = reinterpret_cast<decltype(entry.function)>(optional(name));
    entry.name = name;
  }
  void* require(const char* name) const;
  void* optional(const char* name) const;  // nullptr: it exports none

 private:
  const char* backend_;
  std::string path_;
  void* handle_ = nullptr;
};

}  // namespace olx::kernels::gpu
