// A kernel that is wrong in one way: it leaves the last column of the weights out. ollamax-bench must not time it.
#include "kernels/api/plugin.h"
#include "kernels/rows.h"

namespace olx::kernels {
namespace {

constexpr const char* kBackendName = "cpu";

void matmul_f32_wrong(const MatmulArgs& args, RowRange range) {
  const auto* weights = static_cast<const float*>(args.w.data);
  const auto* x = static_cast<const float*>(args.x.data);
  for (int64_t row = range.from; row < range.to; ++row)
    for (int64_t token = 0; token < args.y.n_rows; ++token) {
      float y = args.bias != nullptr ? args.bias[row] : 0;
      if (args.residual != nullptr) y += args.residual[token * args.y.row_stride_elems + row];
      for (int64_t col = 0; col < args.w.n_cols - 1; ++col)
        y += weights[row * args.w.n_cols + col] * x[token * args.x.row_stride_elems + col];
      args.y.row(token)[row] = y;
    }
}

constexpr KernelRow kRows[] = {
    OLX_KERNEL_ROW(Matmul, F32, wrong, nullptr, nullptr, kFeatureNone, -1, nullptr, matmul_f32_wrong)};
const KernelPlugin kPlugin{kPluginAbi, sizeof(KernelRow), "wrong", kRows, 1};

}  // namespace

extern "C" const KernelPlugin* ollamax_kernel_plugin(const PluginHost* host) {
  return host->abi == kPluginAbi ? &kPlugin : nullptr;
}

}  // namespace olx::kernels
