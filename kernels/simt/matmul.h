#pragma once
// y = x W^T (+ bias) (+ residual). A wave makes one row of w for eight tokens at a time: its lanes
// take every kWave-th group of columns, and add up at the end. Weights in the order of the file.

#include "kernels/simt/activation_q8.h"
#include "kernels/simt/codes.h"

namespace olx::kernels::simt {

constexpr int kMatmulThreads = 128;
constexpr int kTileTokens = 8;
static_assert(kTileTokens <= kMaxReduce);

// What all have in common. Product has
//   static add<S>(args, weights of the row, first token, n tokens, group, sums)     n <=
//   kTileTokens static n_groups(n_cols), row_bytes(n_cols)
template <typename Product>
struct Matmul {
  template <int kWave>
  static Grid grid(const MatmulArgs&, RowRange range) {
    constexpr int kRows = kMatmulThreads / kWave;
    return {(range.size() + kRows - 1) / kRows, kMatmulThreads};
  }

  template <Simt S>
  static constexpr void run(S& s, const MatmulArgs& args, RowRange range) {
    const int64_t row = range.from + s.block() * s.n_waves() + s.wave();
    if (row >= range.to) return;  // the whole wave
    const int64_t n_groups = Product::n_groups(args.w.n_cols), n_tokens = args.y.n_rows;
    const auto* weights =
        static_cast<const uint8_t*>(args.w.data) + row * Product::row_bytes(args.w.n_cols);
    for (int64_t token = 0; token < n_tokens; token += kTileTokens) {
      const int n = static_cast<int>(smaller(n_tokens - token, kTileTokens));
      float sums[kTileTokens] = {};
      for (int64_t group = s.lane(); group < n_groups; group += S::kWave)
        Product::template add<S>(args, weights, token, n, group, sums);
      s.reduce_add(sums);
      for (int i = 0; i < kTileTokens; ++i)
        if (s.lane() == i && i < n) write(args, row, token + i, sums[i]);
    }
  }

 private:
  static constexpr void write(const MatmulArgs& args, int64_t row, int64_t token, float y) {
    if (args.bias != nullptr) y += args.bias[row];
    if (args.residual != nullptr) y += args.residual[token * args.y.row_stride_elems + row];
    row_of(args.y, token)[row] = y;
  }
};

// int8 activations ("simt_q8"): exact integer sums over 16 columns, scaled in f32.
template <typename Type>
struct CodesTimesQ8 {
  static constexpr int64_t n_groups(int64_t n_cols) { return n_cols / 32; }
  static constexpr int64_t row_bytes(int64_t n_cols) { return simt::row_bytes<Type>(n_cols); }
  template <Simt S>
  static constexpr void add(const MatmulArgs& args, const uint8_t* weights, int64_t token, int n,
                            int64_t group, float* sums) {
    const Codes w = load_group<Type, S>(weights, group);
    const Q8Matrix x = q8_matrix(args.x);
    for (int i = 0; i < kTileTokens; ++i) {
      if (i >= n) continue;
      const auto* codes =
          static_cast<const int32_t*>(static_cast<const void*>(x.codes_of(token + i, group)));
      int32_t low = 0, high = 0;
      for (int j = 0; j < 4; ++j) {
        low = S::dot4(w.q[j], codes[j], low);
        high = S::dot4(w.q[4 + j], codes[4 + j], high);
      }
      const float* x_sums = x.sums_of(token + i, group);
      const float product =
          w.scale[0] * static_cast<float>(low) + w.scale[1] * static_cast<float>(high);
      sums[i] += *x.scale_of(token + i, group) * product -
                 (w.minimum[0] * x_sums[0] + w.minimum[1] * x_sums[1]);
    }
  }
};

// f32 activations, for the last matmul of a network.
template <typename Type>
struct CodesTimesF32 {
  static constexpr int64_t n_groups(int64_t n_cols) { return n_cols / 32; }
  static constexpr int64_t row_bytes(int64_t n_cols) { return simt::row_bytes<Type>(n_cols); }
  template <Simt S>
  static constexpr void add(const MatmulArgs& args, const uint8_t* weights, int64_t token, int n,
                            int64_t group, float* sums) {
    const Codes codes = load_group<Type, S>(weights, group);
    float w[32] = {};
    for (int j = 0; j < 32; ++j) w[j] = decoded(codes, j);
    for (int i = 0; i < kTileTokens; ++i) {
      if (i >= n) continue;
      const float* x = static_cast<const float*>(args.x.data) +
                       (token + i) * args.x.row_stride_elems + group * 32;
      for (int j = 0; j < 32; ++j) sums[i] += w[j] * x[j];
    }
  }
};

template <typename Type>
struct ValuesTimesF32 {
  static constexpr int64_t n_groups(int64_t n_cols) { return n_cols; }
  static constexpr int64_t row_bytes(int64_t n_cols) { return n_cols * Type::kBytes; }
  template <Simt S>
  static constexpr void add(const MatmulArgs& args, const uint8_t* weights, int64_t token, int n,
                            int64_t col, float* sums) {
    const float w = Type::template load<S>(weights, col);
    const float* x = static_cast<const float*>(args.x.data) + token * args.x.row_stride_elems + col;
    for (int i = 0; i < kTileTokens; ++i)
      if (i < n) sums[i] += w * x[i * args.x.row_stride_elems];
  }
};

}  // namespace olx::kernels::simt
