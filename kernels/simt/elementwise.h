#pragma once
// Operations on each element by itself: add, scale, softcap, gated activations. A block a token.

#include "kernels/simt/simt.h"

namespace olx::kernels::simt {

constexpr int kRowThreads = 256;

struct Add {
  template <int kWave>
  static Grid grid(const AddArgs&, RowRange range) {
    return {range.size(), kRowThreads};
  }
  template <Simt S>
  static constexpr void run(S& s, const AddArgs& args, RowRange range) {
    const int64_t token = range.from + s.block();
    float* y = row_of(args.y, token);
    const float* a = row_of(args.a, token);
    const float* b = row_of(args.b, token);
    for (int64_t col = s.thread(); col < args.y.n_cols; col += s.n_threads())
      y[col] = a[col] + b[col];
  }
};

struct Scale {
  template <int kWave>
  static Grid grid(const ScaleArgs&, RowRange range) {
    return {range.size(), kRowThreads};
  }
  template <Simt S>
  static constexpr void run(S& s, const ScaleArgs& args, RowRange range) {
    const int64_t token = range.from + s.block();
    float* y = row_of(args.y, token);
    const float* x = row_of(args.x, token);
    for (int64_t col = s.thread(); col < args.y.n_cols; col += s.n_threads())
      y[col] = x[col] * args.scale;
  }
};

struct Softcap {
  template <int kWave>
  static Grid grid(const SoftcapArgs&, RowRange range) {
    return {range.size(), kRowThreads};
  }
  template <Simt S>
  static constexpr void run(S& s, const SoftcapArgs& args, RowRange range) {
    const int64_t token = range.from + s.block();
    float* y = row_of(args.y, token);
    const float* x = row_of(args.x, token);
    for (int64_t col = s.thread(); col < args.y.n_cols; col += s.n_threads())
      y[col] = args.cap * S::tanh(x[col] / args.cap);
  }
};

template <Simt S>
constexpr float activate(Activation activation, float x) {
  switch (activation) {
    case Activation::kSilu:
      return x / (1.0f + S::exp(-x));
    case Activation::kGeluTanh: {
      constexpr float kSqrt2OverPi = 0.797884561f;
      return 0.5f * x * (1.0f + S::tanh(kSqrt2OverPi * (x + 0.044715f * x * x * x)));
    }
    case Activation::kGeluErf:
      return 0.5f * x * S::erfc(-0.707106781f * x);
    case Activation::kRelu:
      return larger(x, 0.0f);
  }
  return 0.0f;
}

struct GatedActivation {
  template <int kWave>
  static Grid grid(const GatedActivationArgs&, RowRange range) {
    return {range.size(), kRowThreads};
  }
  template <Simt S>
  static constexpr void run(S& s, const GatedActivationArgs& args, RowRange range) {
    const int64_t token = range.from + s.block();
    float* y = row_of(args.y, token);
    const float* gate = row_of(args.gate, token);
    const float* up = row_of(args.up, token);
    for (int64_t col = s.thread(); col < args.y.n_cols; col += s.n_threads())
      y[col] = activate<S>(args.activation, gate[col]) * up[col];
  }
};

}  // namespace olx::kernels::simt
