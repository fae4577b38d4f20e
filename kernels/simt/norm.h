#pragma once
// Operations that need a sum over a row: rms_norm, alone and added to another, and softmax. A block a token.

#include "kernels/simt/elementwise.h"

namespace olx::kernels::simt {

// What a row of n columns with this sum of squares is multiplied with.
template <Simt S>
constexpr float inverse_root(float squares, int64_t n, float eps) {
  return 1.0f / S::sqrt(squares / static_cast<float>(n) + eps);
}

struct RmsNorm {
  template <int kWave>
  static Grid grid(const RmsNormArgs&, RowRange range) {
    return {range.size(), kRowThreads};
  }

  // One group takes the whole block; where there are many, as for the heads of q and k, a wave
  // each.
  template <Simt S>
  static constexpr void run(S& s, const RmsNormArgs& args, RowRange range) {
    const int64_t token = range.from + s.block(), n = args.group_cols;
    const float* x = row_of(args.x, token);
    float* y = row_of(args.y, token);
    if (args.x.n_cols == n) {
      float sum = 0;
      for (int64_t i = s.thread(); i < n; i += s.n_threads()) sum += x[i] * x[i];
      write<S>(args, x, y, block_sum(s, sum), s.thread(), s.n_threads());
      return;
    }
    for (int64_t group = s.wave() * n; group < args.x.n_cols; group += s.n_waves() * n) {
      float sum[1] = {0};
      for (int64_t i = s.lane(); i < n; i += S::kWave) sum[0] += x[group + i] * x[group + i];
      s.reduce_add(sum);
      write<S>(args, x + group, y + group, sum[0], s.lane(), S::kWave);
    }
  }

 private:
  template <Simt S>
  static constexpr void write(const RmsNormArgs& args, const float* x, float* y, float sum,
                              int first, int step) {
    const float inverse = inverse_root<S>(sum, args.group_cols, args.eps);
    for (int64_t i = first; i < args.group_cols; i += step)
      y[i] = args.weight != nullptr ? x[i] * inverse * args.weight[i] : x[i] * inverse;
  }
};

// One group of all columns.
struct RmsNormAdd {
  template <int kWave>
  static Grid grid(const RmsNormAddArgs&, RowRange range) {
    return {range.size(), kRowThreads};
  }
  template <Simt S>
  static constexpr void run(S& s, const RmsNormAddArgs& args, RowRange range) {
    const int64_t token = range.from + s.block(), n = args.x.n_cols;
    const float *x = row_of(args.x, token), *residual = row_of(args.residual, token);
    float* y = row_of(args.y, token);
    float sum = 0;
    for (int64_t i = s.thread(); i < n; i += s.n_threads()) sum += x[i] * x[i];
    const float inverse = inverse_root<S>(block_sum(s, sum), n, args.eps);
    for (int64_t i = s.thread(); i < n; i += s.n_threads())
      y[i] = residual[i] + (args.weight != nullptr ? x[i] * inverse * args.weight[i] : x[i] * inverse);
  }
};

struct Softmax {
  template <int kWave>
  static Grid grid(const SoftmaxArgs&, RowRange range) {
    return {range.size(), kRowThreads};
  }
  template <Simt S>
  static constexpr void run(S& s, const SoftmaxArgs& args, RowRange range) {
    const int64_t token = range.from + s.block(), n = args.x.n_cols;
    const float* x = row_of(args.x, token);
    float* y = row_of(args.y, token);
    float most = -kInfinity;
    for (int64_t i = s.thread(); i < n; i += s.n_threads()) most = larger(most, x[i]);
    most = block_max(s, most);
    if (most == -kInfinity) {  // all masked
      for (int64_t i = s.thread(); i < n; i += s.n_threads()) y[i] = 0.0f;
      return;
    }
    float sum = 0;
    for (int64_t i = s.thread(); i < n; i += s.n_threads()) sum += S::exp(x[i] - most);
    sum = block_sum(s, sum);
    for (int64_t i = s.thread(); i < n; i += s.n_threads()) y[i] = S::exp(x[i] - most) / sum;
  }
};

}  // namespace olx::kernels::simt
