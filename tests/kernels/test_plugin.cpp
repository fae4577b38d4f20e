// A kernel in a shared library of its own, as a user would write one; OLLAMAX_TEST_PLUGIN_MODE makes it misbehave.

#include <cstdlib>
#include <string_view>

#include "kernels/api/plugin.h"
#include "kernels/rows.h"

namespace olx::kernels {
namespace {

constexpr const char* kBackendName = "cpu";

void add_plugin(const AddArgs& args, RowRange range) {
  for (int64_t row = range.from; row < range.to; ++row)
    for (int64_t col = 0; col < args.y.n_cols; ++col)
      args.y.row(row)[col] = args.a.row(row)[col] + args.b.row(row)[col];
}

KernelRow rows[] = {OLX_KERNEL_ROW(Add, F32, plugin, nullptr, nullptr, kFeatureNone, -1, nullptr, add_plugin)};
KernelPlugin plugin;

}  // namespace

extern "C" const KernelPlugin* ollamax_kernel_plugin(const PluginHost* host) {
  const char* text = std::getenv("OLLAMAX_TEST_PLUGIN_MODE");
  const std::string_view mode = text != nullptr ? text : "";
  if (host->abi != kPluginAbi || mode == "declines") return nullptr;
  if (host->find_activation("f32") == nullptr || host->find_activation("no such format") != nullptr) return nullptr;
  plugin = {mode == "abi" ? 4711 : kPluginAbi, mode == "row" ? 8 : static_cast<uint32_t>(sizeof(KernelRow)),
            "test", rows, 1};
  rows[0].backend = mode == "backend" ? "abacus" : kBackendName;
  rows[0].run = mode == "function" ? nullptr : &run_erased<AddArgs, add_plugin>;
  return &plugin;
}

}  // namespace olx::kernels
