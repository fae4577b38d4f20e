#pragma once
// y = x W^T (+ bias) (+ residual). A wave makes kWaveRows rows of w for eight tokens at a time: its
// lanes take every kWave-th group of columns, decode it once, and add up at the end; what is read
// of x serves all of the rows. One to eight tokens read the weights once. Weights in the order of
// the file.

#include "kernels/simt/activation_q8.h"
#include "kernels/simt/codes.h"

namespace olx::kernels::simt {

constexpr int kMatmulThreads = 128;
constexpr int kTileTokens = 8;
constexpr int kWaveRows = 2;  // more need more registers than let a device hide the loads
static_assert(kTileTokens <= kMaxReduce);

inline bool accepts_aligned_weights(const MatmulArgs& args) { return is_matrix_aligned(args.w); }

constexpr void write_y(const MatmulArgs& args, int64_t row, int64_t token, float y) {
  if (args.bias != nullptr) y += args.bias[row];
  if (args.residual != nullptr) y += args.residual[token * args.y.row_stride_elems + row];
  row_of(args.y, token)[row] = y;
}

// Blocks of n_threads for units of which each wave has n_units.
template <int kWave>
constexpr Grid grid_of_waves(RowRange range, int n_threads, int n_units) {
  const int n_block_units = n_threads / kWave * n_units;
  return {(range.to - range.from + n_block_units - 1) / n_block_units, n_threads};
}

// What all have in common. Product has
//   static n_groups(n_cols), row_bytes(n_cols)
//   Weights, static load<S>(weights of the row, group)
//   Inputs, static load_inputs(args, token, group)
//   static add<S>(weights, inputs, sum)    the sum with the group's products added
template <typename Product>
struct Matmul {
  template <int kWave>
  static Grid grid(const MatmulArgs&, RowRange range) {
    return grid_of_waves<kWave>(range, kMatmulThreads, kWaveRows);
  }

  template <Simt S>
  static constexpr void run(S& s, const MatmulArgs& args, RowRange range) {
    const int64_t row = range.from + (s.block() * s.n_waves() + s.wave()) * kWaveRows;
    if (row >= range.to) return;  // the whole wave
    const int64_t n_tokens = args.y.n_rows;
    const uint8_t* weights[kWaveRows];
    for (int r = 0; r < kWaveRows; ++r)  // behind the last row the last one again
      weights[r] = static_cast<const uint8_t*>(args.w.data) +
                   smaller(row + r, range.to - 1) * Product::row_bytes(args.w.n_cols);
    if (n_tokens == 1) return multiply<1>(s, args, range.to, row, weights, 0, 1);
    for (int64_t token = 0; token < n_tokens; token += kTileTokens)
      multiply<kTileTokens>(s, args, range.to, row, weights, token,
                            static_cast<int>(smaller(n_tokens - token, kTileTokens)));
  }

 private:
  // n tokens. One by itself has no branches for others between its loads, and one sum a row to add up: the same bits.
  template <int kTokens, Simt S>
  static constexpr void multiply(S& s, const MatmulArgs& args, int64_t row_end, int64_t row,
                                 const uint8_t* const (&weights)[kWaveRows], int64_t token, int n) {
    const int64_t n_groups = Product::n_groups(args.w.n_cols);
    float sums[kWaveRows][kTokens] = {};
    for (int64_t group = s.lane(); group < n_groups; group += S::kWave) {
      typename Product::Weights w[kWaveRows];
      for (int r = 0; r < kWaveRows; ++r) w[r] = Product::template load<S>(weights[r], group);
      for (int i = 0; i < kTokens; ++i) {
        if (kTokens > 1 && i >= n) continue;
        const typename Product::Inputs x = Product::load_inputs(args, token + i, group);
        for (int r = 0; r < kWaveRows; ++r)
          sums[r][i] = Product::template add<S>(w[r], x, sums[r][i]);
      }
    }
    for (int r = 0; r < kWaveRows; ++r) {
      s.reduce_add(sums[r]);
      // Not unrolled(): the sums of eight tokens go through memory once, at the end, for a fifth fewer registers.
      for (int i = 0; i < kTokens; ++i)
        if (s.lane() == i && i < n && row + r < row_end)
          write_y(args, row + r, token + i, sums[r][i]);
    }
  }
};

// int8 activations ("simt_q8"): exact integer sums over 16 columns, scaled in f32.
template <typename Type>
struct CodesTimesQ8 {
  using Weights = Codes;
  struct Inputs {
    uint32_t codes[8];
    float scale;
    float sums[2];
  };
  static constexpr int64_t n_groups(int64_t n_cols) { return n_cols / 32; }
  static constexpr int64_t row_bytes(int64_t n_cols) { return simt::row_bytes<Type>(n_cols); }
  template <Simt S>
  static constexpr Codes load(const uint8_t* row, int64_t group) {
    return load_group<Type, S>(row, group);
  }
  static constexpr Inputs load_inputs(const MatmulArgs& args, int64_t token, int64_t group) {
    const Q8Matrix x = q8_matrix<1>(args.x, 0);
    Inputs inputs = load_term(x, token, group);
    for (int i = 0; i < 2; ++i) inputs.sums[i] = x.sums_of(token, group)[i];
    return inputs;
  }
  // Without the sums.
  static constexpr Inputs load_term(const Q8Matrix& x, int64_t token, int64_t group) {
    Inputs inputs{};
    load_words<16>(static_cast<const uint8_t*>(static_cast<const void*>(x.codes_of(token, group))),
                   inputs.codes);
    inputs.scale = *x.scale_of(token, group);
    return inputs;
  }
  template <Simt S>
  static constexpr float add(const Codes& w, const Inputs& x, float sum) {
    return subtract_minimum<S>(w, x, add_products<S>(w, x, sum));
  }
  template <Simt S>
  static constexpr float add_products(const Codes& w, const Inputs& x, float sum) {
    int32_t low = 0, high = 0;
    for (int j = 0; j < 4; ++j) {
      low = S::dot4(w.q[j], static_cast<int32_t>(x.codes[j]), low);
      high = S::dot4(w.q[4 + j], static_cast<int32_t>(x.codes[4 + j]), high);
    }
    if constexpr (Type::kHasScaleOf32)
      return S::fma(x.scale * w.scale[0], static_cast<float>(low + high), sum);
    const float product =
        S::fma(w.scale[0], static_cast<float>(low), w.scale[1] * static_cast<float>(high));
    return S::fma(x.scale, product, sum);
  }
  template <Simt S>
  static constexpr float subtract_minimum(const Codes& w, const Inputs& x, float sum) {
    if constexpr (!Type::kHasMinimum) return sum;
    if constexpr (Type::kHasScaleOf32) return S::fma(-w.minimum[0], x.sums[0] + x.sums[1], sum);
    return sum - S::fma(w.minimum[0], x.sums[0], w.minimum[1] * x.sums[1]);
  }
};

// Two terms of int8 ("simt_q8x2"), for the last matmul of a network: a product of f32 for every weight would be several times the
// instructions, and the last matrix is the largest.
template <typename Type>
struct CodesTimesQ8x2 {
  using OneTerm = CodesTimesQ8<Type>;
  using Weights = Codes;
  struct Inputs {
    typename OneTerm::Inputs near;  // with the sums of both
    typename OneTerm::Inputs rest;
  };
  static constexpr int64_t n_groups(int64_t n_cols) { return OneTerm::n_groups(n_cols); }
  static constexpr int64_t row_bytes(int64_t n_cols) { return OneTerm::row_bytes(n_cols); }
  template <Simt S>
  static constexpr Codes load(const uint8_t* row, int64_t group) {
    return load_group<Type, S>(row, group);
  }
  static constexpr Inputs load_inputs(const MatmulArgs& args, int64_t token, int64_t group) {
    const Q8Matrix near = q8_matrix<2>(args.x, 0), rest = q8_matrix<2>(args.x, 1);
    Inputs inputs{OneTerm::load_term(near, token, group), OneTerm::load_term(rest, token, group)};
    for (int i = 0; i < 2; ++i) inputs.near.sums[i] = near.sums_of(token, group)[i];
    return inputs;
  }
  template <Simt S>
  static constexpr float add(const Codes& w, const Inputs& x, float sum) {
    return OneTerm::template add<S>(w, x.near, OneTerm::template add_products<S>(w, x.rest, sum));
  }
};

template <typename Type>
struct ValuesTimesF32 {
  using Weights = float;
  using Inputs = float;
  static constexpr int64_t n_groups(int64_t n_cols) { return n_cols; }
  static constexpr int64_t row_bytes(int64_t n_cols) { return n_cols * Type::kBytes; }
  template <Simt S>
  static constexpr float load(const uint8_t* row, int64_t col) {
    return Type::template load<S>(row, col);
  }
  static constexpr float load_inputs(const MatmulArgs& args, int64_t token, int64_t col) {
    return static_cast<const float*>(args.x.data)[token * args.x.row_stride_elems + col];
  }
  template <Simt S>
  static constexpr float add(float w, float x, float sum) {
    return S::fma(w, x, sum);
  }
};

}  // namespace olx::kernels::simt
