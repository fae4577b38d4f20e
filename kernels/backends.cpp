// The compiled-in backends, expanded from backends.inc.

#include <array>

#include "kernels/backend_rows.h"

namespace olx::kernels {
namespace {

const std::array kBackends{
#define OLX_BACKEND(backend, kind, reason) \
  Backend{#backend, BackendKind::kind, reason, &backend::open, &backend::devices},
#include "kernels/backends.inc"
#undef OLX_BACKEND
};

const std::array kRows{
#define OLX_BACKEND(backend, kind, reason) &backend::rows,
#include "kernels/backends.inc"
#undef OLX_BACKEND
};

}  // namespace

std::span<const Backend> backends() { return kBackends; }

const Backend* find_backend(std::string_view name) {
  for (const Backend& backend : kBackends)
    if (name == backend.name) return &backend;
  return nullptr;
}

std::span<const BackendRows> backend_rows() { return kRows; }

}  // namespace olx::kernels
