// The tests' own driver as a library that a whole program opens in the place of libcuda.so.1
// (OLLAMAX_CUDA_DRIVER). Where the file named by CUDA_FAKE exists, it says what the next call does,
// once: a device does not "open", a "launch" fails, the device is "lost", an "allocate" finds no
// memory. FILE.bytes tells how much the program holds, in all and of each of two devices.

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>

#include "tests/kernels/gpu/fake_driver.h"

using olx::kernels::gpu::DriverApi;
using olx::kernels::gpu::FakeForm;
using olx::kernels::gpu::Handle;
using olx::kernels::gpu::kOutOfMemory;
using olx::kernels::gpu::Result;

namespace {

const DriverApi& api() {
  static const DriverApi table = olx::kernels::gpu::fake_library_api(FakeForm::kCuda);
  return table;
}

std::string file_name() {
  const char* name = std::getenv("CUDA_FAKE");
  return name != nullptr ? name : "";
}

bool is_asked(const std::string& wanted) {
  std::ifstream in(file_name());
  std::string word;
  if (!(in >> word) || word != wanted) return false;
  std::remove(file_name().c_str());
  return true;
}

Result report(Result result) {
  const olx::kernels::gpu::FakeDriver& fake = olx::kernels::gpu::fake_driver();
  if (!file_name().empty())
    std::ofstream(file_name() + ".bytes")
        << fake.allocated_bytes << ' ' << fake.devices[0].allocated_bytes << ' '
        << fake.devices[1].allocated_bytes;
  return result;
}

// Whether what begins now is not to fail; the device may be lost by it.
bool can_launch() {
  if (is_asked("launch")) return false;
  olx::kernels::gpu::FakeDriver& fake = olx::kernels::gpu::fake_driver();
  if (is_asked("lost")) fake.faults_at_launch = fake.n_launches + 1;
  return true;
}

}  // namespace

extern "C" {
Result cuInit(unsigned flags) { return api().init(flags); }
Result cuDeviceGetCount(int* count) { return api().device_count(count); }
Result cuDeviceGet(int* device, int index) { return api().device_get(device, index); }
Result cuDeviceGetName(char* name, int size_bytes, int device) {
  return api().device_name(name, size_bytes, device);
}
Result cuDeviceGetAttribute(int* value, int attribute, int device) {
  return api().device_attribute(value, attribute, device);
}
Result cuDeviceTotalMem_v2(size_t* size_bytes, int device) {
  return api().device_memory(size_bytes, device);
}
Result cuDevicePrimaryCtxRetain(Handle* context, int device) {
  return is_asked("open") ? kOutOfMemory : api().retain_context(context, device);
}
Result cuDevicePrimaryCtxRelease_v2(int device) { return api().release_context(device); }
Result cuCtxSetCurrent(Handle context) { return api().set_context(context); }
Result cuMemGetInfo_v2(size_t* free_bytes, size_t* size_bytes) {
  return api().memory_info(free_bytes, size_bytes);
}
Result cuMemAllocManaged(uint64_t* address, size_t size_bytes, unsigned flags) {
  if (is_asked("allocate")) return kOutOfMemory;
  return report(api().allocate_managed(address, size_bytes, flags));
}
Result cuMemFree_v2(uint64_t address) { return report(api().free(address)); }
Result cuModuleLoadData(Handle* module, const void* image) {
  return api().load_module(module, image);
}
Result cuModuleUnload(Handle module) { return api().unload_module(module); }
Result cuModuleGetFunction(Handle* function, Handle module, const char* name) {
  return api().find_function(function, module, name);
}
Result cuStreamCreate(Handle* stream, unsigned flags) { return api().create_stream(stream, flags); }
Result cuStreamDestroy_v2(Handle stream) { return api().destroy_stream(stream); }
Result cuStreamSynchronize(Handle stream) {
  const Result result = api().synchronize(stream);
  const std::string& misuse = olx::kernels::gpu::fake_driver().misuse;
  if (!misuse.empty()) std::fprintf(stderr, "fake driver: %s\n", misuse.c_str());
  return result;
}
Result cuLaunchKernel(Handle function, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                      unsigned block_x, unsigned block_y, unsigned block_z, unsigned shared_bytes,
                      Handle stream, void** parameters, void** extra) {
  if (!olx::kernels::gpu::fake_driver().is_capturing && !can_launch()) return 1;
  return api().launch(function, grid_x, grid_y, grid_z, block_x, block_y, block_z, shared_bytes,
                      stream, parameters, extra);
}
Result cuStreamBeginCapture_v2(Handle stream, int mode) {
  return api().begin_capture(stream, mode);
}
Result cuStreamEndCapture(Handle stream, Handle* graph) { return api().end_capture(stream, graph); }
Result cuGraphInstantiateWithFlags(Handle* executable, Handle graph, unsigned long long flags) {
  return api().instantiate_graph(executable, graph, flags);
}
Result cuGraphDestroy(Handle graph) { return api().destroy_graph(graph); }
Result cuGraphLaunch(Handle executable, Handle stream) {
  return can_launch() ? api().launch_graph(executable, stream) : 1;
}
Result cuGraphExecDestroy(Handle executable) { return api().destroy_executable(executable); }
Result cuGetErrorName(Result result, const char** name) { return api().error_name(result, name); }
}
