// One kernel for every weight type on the file's own layout: decode a row once, then one dot product a token. What any
// machine can run, and what the other rows are compared with.
#include <cstddef>
#include <vector>

#include "gguf/quantize.h"
#include "kernels/api/args.h"

namespace olx::kernels::cpu {
namespace {

// Eight partial sums: they are what lets a compiler use vectors without changing the order of additions.
float dot(const float* a, const float* b, int64_t n) {
  float sums[8] = {};
  int64_t i = 0;
  for (; i + 8 <= n; i += 8)
    for (int64_t j = 0; j < 8; ++j) sums[j] += a[i + j] * b[i + j];
  float total = ((sums[0] + sums[4]) + (sums[1] + sums[5])) + ((sums[2] + sums[6]) + (sums[3] + sums[7]));
  for (; i < n; ++i) total += a[i] * b[i];
  return total;
}

}  // namespace

void matmul_portable(const MatmulArgs& args, RowRange range) {
  const int64_t n_cols = args.w.n_cols, row_bytes = gguf::row_size_bytes(args.w.dtype, n_cols);
  thread_local std::vector<float> weights;  // grows to the widest row once, then stays
  if (static_cast<int64_t>(weights.size()) < n_cols) weights.resize(static_cast<size_t>(n_cols));
  for (int64_t row = range.from; row < range.to; ++row) {
    gguf::dequantize_row(args.w.dtype, static_cast<const std::byte*>(args.w.data) + row * row_bytes, weights.data(), n_cols);
    for (int64_t token = 0; token < args.x.n_tokens; ++token) {
      const float* x = static_cast<const float*>(args.x.data) + token * args.x.row_stride_elems;
      float y = dot(weights.data(), x, n_cols);
      if (args.bias) y += args.bias[row];
      const int64_t at = token * args.y.row_stride_elems + row;
      if (args.residual) y += args.residual[at];
      args.y.data[at] = y;
    }
  }
}

}  // namespace olx::kernels::cpu
