#include "kernels/plugin_loader.h"

#include <dlfcn.h>

#include <algorithm>
#include <cstring>

#include "kernels/api/plugin.h"

namespace olx::kernels {
namespace {

// The callbacks of PluginHost have no context argument, so the rows they search are named here during one call.
thread_local std::span<const KernelRow> searched_rows;

const ActivationFormat* find_activation(const char* name) {
  for (const KernelRow& row : searched_rows)
    if (std::strcmp(row.activation->name, name) == 0) return row.activation;
  return nullptr;
}

const WeightLayout* find_layout(const char* name) {
  for (const KernelRow& row : searched_rows)
    if (row.layout != nullptr && std::strcmp(row.layout->name, name) == 0) return row.layout;
  return nullptr;
}

[[noreturn]] void refuse(const std::string& path, const std::string& why) {
  throw DeviceError("kernel plugin " + path + ": " + why);
}

KernelRow checked_row(const std::string& path, const KernelRow& row, size_t index) {
  const std::string where = "row " + std::to_string(index) + ": ";
  if (static_cast<int>(row.op) >= kNumOps)
    refuse(path, where + "expected an op below " + std::to_string(kNumOps) + ", got " +
                     std::to_string(static_cast<int>(row.op)));
  if (gguf::find_dtype(static_cast<uint32_t>(row.dtype)) == nullptr)
    refuse(path, where + "unknown dtype " + std::to_string(static_cast<uint32_t>(row.dtype)));
  if (row.run == nullptr) refuse(path, where + "expected a function, got nullptr");
  for (const char* text : {row.backend, row.name, row.variant})
    if (text == nullptr || *text == '\0') refuse(path, where + "backend, name and variant must not be empty");
  if (find_backend(row.backend) == nullptr)
    refuse(path, where + "backend '" + row.backend + "' is not part of this program");
  KernelRow result = row;
  if (result.activation == nullptr) result.activation = &kActivationF32;
  return result;
}

}  // namespace

std::vector<KernelRow> load_plugin(const std::string& path, std::span<const KernelRow> known) {
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    const char* why = dlerror();
    refuse(path, why != nullptr ? why : "cannot be opened");
  }
  const auto entry = reinterpret_cast<KernelPluginFn>(dlsym(library, kKernelPluginSymbol));
  if (entry == nullptr) refuse(path, std::string("expected it to export ") + kKernelPluginSymbol);

  const PluginHost host{kPluginAbi, &find_activation, &find_layout};
  searched_rows = known;
  const KernelPlugin* plugin = entry(&host);
  searched_rows = {};
  if (plugin == nullptr) refuse(path, "it declined to load (it was built for another version of this program)");
  if (plugin->abi != kPluginAbi)
    refuse(path, "expected plugin interface " + std::to_string(kPluginAbi) + ", got " +
                     std::to_string(plugin->abi));
  if (plugin->row_bytes != sizeof(KernelRow))
    refuse(path, "expected rows of " + std::to_string(sizeof(KernelRow)) + " bytes, got " +
                     std::to_string(plugin->row_bytes));
  std::vector<KernelRow> rows;
  for (size_t i = 0; i < plugin->n_rows; ++i) rows.push_back(checked_row(path, plugin->rows[i], i));
  return rows;
}

std::vector<std::string> split_plugin_list(std::string_view list) {
  std::vector<std::string> parts;
  while (!list.empty()) {
    const size_t end = std::min(list.find(':'), list.size());
    if (end > 0) parts.emplace_back(list.substr(0, end));
    list.remove_prefix(std::min(end + 1, list.size()));
  }
  return parts;
}

}  // namespace olx::kernels
