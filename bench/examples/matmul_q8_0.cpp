// An example of a kernel in a shared library of its own: the product of Q8_0 weights, in the order of the file, with f32
// activations, in plain C++. It is named and timed beside the rows of the program:
//   ollamax-bench kernels --dtype q8_0 --plugin ./olx_example_plugin.so
// and used by a model with OLLAMAX_KERNEL_PLUGINS=./olx_example_plugin.so OLLAMAX_KERNELS=matmul.q8_0=example.
//
// A block's scale is applied once to the sum over its 32 columns. Eight sums side by side, so that the compiler may use
// vectors without reordering an addition.

#include <cstdint>
#include <cstring>

#include "gguf/blocks.h"
#include "kernels/api/plugin.h"
#include "kernels/rows.h"

namespace olx::kernels {
namespace {

constexpr const char* kBackendName = "cpu";
constexpr int kLanes = 8;

// IEEE 754: a plugin links to nothing of the program.
float half_to_float(uint16_t half) {
  const uint32_t sign = static_cast<uint32_t>(half >> 15) << 31, exponent = half >> 10 & 31, fraction = half & 1023;
  uint32_t bits = 0;
  if (exponent == 0) {  // zero or subnormal: a multiple of 2^-24
    const float value = static_cast<float>(fraction) * 0x1p-24f;
    return sign != 0 ? -value : value;
  }
  bits = sign | (exponent == 31 ? 0x7f800000u : (exponent + 112) << 23) | fraction << 13;
  float value = 0;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

float dot(const gguf::BlockQ8_0* blocks, const float* x, int64_t n_blocks) {
  float sum = 0;
  for (int64_t block = 0; block < n_blocks; ++block) {
    float lanes[kLanes] = {};
    for (int col = 0; col < 32; col += kLanes)
      for (int lane = 0; lane < kLanes; ++lane)
        lanes[lane] += static_cast<float>(blocks[block].qs[col + lane]) * x[32 * block + col + lane];
    float of_block = 0;
    for (float lane : lanes) of_block += lane;
    sum += half_to_float(blocks[block].d) * of_block;
  }
  return sum;
}

void matmul_q8_0_example(const MatmulArgs& args, RowRange range) {
  const int64_t n_blocks = args.w.n_cols / 32;
  const auto* weights = static_cast<const gguf::BlockQ8_0*>(args.w.data);
  const auto* x = static_cast<const float*>(args.x.data);
  for (int64_t row = range.from; row < range.to; ++row) {
    for (int64_t token = 0; token < args.y.n_rows; ++token) {
      float y = dot(weights + row * n_blocks, x + token * args.x.row_stride_elems, n_blocks);
      if (args.bias != nullptr) y += args.bias[row];
      if (args.residual != nullptr) y += args.residual[token * args.y.row_stride_elems + row];
      args.y.row(token)[row] = y;
    }
  }
}

// A negative rank: there when named, never taken on its own. The format of f32 activations is the program's: nullptr.
constexpr KernelRow kRows[] = {
    OLX_KERNEL_ROW(Matmul, Q8_0, example, nullptr, nullptr, kFeatureNone, -1, nullptr, matmul_q8_0_example)};
const KernelPlugin kPlugin{kPluginAbi, sizeof(KernelRow), "example", kRows, 1};

}  // namespace

extern "C" const KernelPlugin* ollamax_kernel_plugin(const PluginHost* host) {
  return host->abi == kPluginAbi ? &kPlugin : nullptr;
}

}  // namespace olx::kernels
