// The tests' own driver as a library that a whole program opens in the place of libamdhip64
// (OLLAMAX_HIP_DRIVER).

#include "tests/kernels/gpu/fake_driver.h"

using olx::kernels::gpu::DriverApi;
using olx::kernels::gpu::FakeForm;
using olx::kernels::gpu::Handle;
using olx::kernels::gpu::Result;

namespace {

const DriverApi& api() {
  static const DriverApi table = olx::kernels::gpu::fake_library_api(FakeForm::kHip);
  return table;
}

}  // namespace

extern "C" {
Result hipInit(unsigned flags) { return api().init(flags); }
Result hipGetDeviceCount(int* count) { return api().device_count(count); }
Result hipDeviceGet(int* device, int index) { return api().device_get(device, index); }
Result hipDeviceGetName(char* name, int size_bytes, int device) {
  return api().device_name(name, size_bytes, device);
}
Result hipDeviceGetAttribute(int* value, int attribute, int device) {
  return api().device_attribute(value, attribute, device);
}
Result hipDeviceTotalMem(size_t* size_bytes, int device) {
  return api().device_memory(size_bytes, device);
}
Result hipSetDevice(int device) { return api().set_device(device); }
Result hipMemGetInfo(size_t* free_bytes, size_t* size_bytes) {
  return api().memory_info(free_bytes, size_bytes);
}
Result hipMallocManaged(uint64_t* address, size_t size_bytes, unsigned flags) {
  return api().allocate_managed(address, size_bytes, flags);
}
Result hipFree(uint64_t address) { return api().free(address); }
Result hipModuleLoadData(Handle* module, const void* image) {
  return api().load_module(module, image);
}
Result hipModuleUnload(Handle module) { return api().unload_module(module); }
Result hipModuleGetFunction(Handle* function, Handle module, const char* name) {
  return api().find_function(function, module, name);
}
Result hipStreamCreateWithFlags(Handle* stream, unsigned flags) {
  return api().create_stream(stream, flags);
}
Result hipStreamDestroy(Handle stream) { return api().destroy_stream(stream); }
Result hipStreamSynchronize(Handle stream) { return api().synchronize(stream); }
Result hipModuleLaunchKernel(Handle function, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                             unsigned block_x, unsigned block_y, unsigned block_z,
                             unsigned shared_bytes, Handle stream, void** parameters,
                             void** extra) {
  return api().launch(function, grid_x, grid_y, grid_z, block_x, block_y, block_z, shared_bytes,
                      stream, parameters, extra);
}
Result hipStreamBeginCapture(Handle stream, int mode) { return api().begin_capture(stream, mode); }
Result hipStreamEndCapture(Handle stream, Handle* graph) {
  return api().end_capture(stream, graph);
}
Result hipGraphInstantiateWithFlags(Handle* executable, Handle graph, unsigned long long flags) {
  return api().instantiate_graph(executable, graph, flags);
}
Result hipGraphDestroy(Handle graph) { return api().destroy_graph(graph); }
Result hipGraphLaunch(Handle executable, Handle stream) {
  return api().launch_graph(executable, stream);
}
Result hipGraphExecDestroy(Handle executable) { return api().destroy_executable(executable); }
Result hipGetDevicePropertiesR0600(void* properties, int device) {
  return api().properties(properties, device);
}
const char* hipGetErrorName(Result result) { return api().error_text(result); }
}
