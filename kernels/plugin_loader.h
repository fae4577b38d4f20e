#pragma once
// Opens kernel plugins (api/plugin.h) and checks what they export. Used by the registry and its tests.

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/api/registry.h"

namespace olx::kernels {

// The rows of one plugin, checked field by field. `known` are the rows whose formats and layouts it may ask for.
// Throws DeviceError: the path, what was expected and what was found. The library stays open.
std::vector<KernelRow> load_plugin(const std::string& path, std::span<const KernelRow> known);

// Splits a list such as "a.so:b.so"; empty parts are dropped.
std::vector<std::string> split_plugin_list(std::string_view list);

}  // namespace olx::kernels
