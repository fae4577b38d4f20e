#pragma once
// What each line of backends.inc promises: its folder's open(), devices() and rows(). Included by the backends themselves and
// by backends.cpp; not by anyone who merely uses kernels (api/backend.h, api/registry.h).

#include <memory>
#include <span>
#include <vector>

#include "kernels/api/backend.h"
#include "kernels/api/registry.h"

namespace olx::kernels {

#define OLX_BACKEND(backend, kind, reason)                      \
  namespace backend {                                           \
  std::unique_ptr<Device> open(const DeviceOptions& options);   \
  std::vector<DeviceInfo> devices();                            \
  std::span<const KernelRow> rows();                            \
  }
#include "kernels/backends.inc"
#undef OLX_BACKEND

using BackendRows = std::span<const KernelRow> (*)();
std::span<const BackendRows> backend_rows();

}  // namespace olx::kernels
