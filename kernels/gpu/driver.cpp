#include "kernels/gpu/driver.h"

#include <dlfcn.h>

#include "kernels/api/backend.h"

namespace olx::kernels::gpu {

void check(const DriverApi& api, Result result, const std::string& what) {
  if (result == kSuccess) return;
  const char* name = nullptr;
  if (api.error_text != nullptr)
    name = api.error_text(result);
  else
    api.error_name(result, &name);
  throw DeviceError(std::string(api.backend) + ": " + what + ": " +
                    (name != nullptr ? name : "unknown error") + " (" + std::to_string(result) +
                    ")");
}

DriverLibrary::DriverLibrary(const char* backend, std::span<const std::string> names,
                             const char* what)
    : backend_(backend) {
  std::string why;
  for (const std::string& name : names) {
    handle_ = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle_ != nullptr) {
      path_ = name;
      return;
    }
    const char* error = dlerror();
    if (why.empty()) why = error != nullptr ? error : name;
  }
  throw DeviceError(std::string(backend) + ": there is no " + what + ": " + why);
}

void* DriverLibrary::optional(const char* name) const { return dlsym(handle_, name); }

void* DriverLibrary::require(const char* name) const {
  void* function = optional(name);
  if (function == nullptr)
    throw DeviceError(std::string(backend_) + ": " + path_ + ": expected it to export " + name);
  return function;
}

}  // namespace olx::kernels::gpu
