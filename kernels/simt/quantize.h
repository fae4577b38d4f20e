#pragma once
// f32 -> "simt_q8" and "simt_q8x2" (activation_q8.h), and rows of the KV cache. Thirty-two lanes encode 32 columns:
// a wave of 64 makes two blocks at once.

#include "kernels/simt/activation_q8.h"
#include "kernels/simt/elementwise.h"

namespace olx::kernels::simt {

// The largest of a value over the 32 lanes around this one.
template <Simt S>
constexpr float max_of_32(S& s, float value) {
  for (int mask = 16; mask > 0; mask /= 2) value = larger(value, s.shuffle_xor(value, mask));
  return value;
}

// The nearest code of x * inverse in [-127, 127]; 0 for what is no number.
template <Simt S>
constexpr int32_t code_of(float x, float inverse) {
  const float scaled = x * inverse;
  return scaled >= -127.5f && scaled <= 127.5f ? static_cast<int32_t>(S::round(scaled)) : 0;
}

template <int kTerms>
struct QuantizeQ8 {
  template <int kWave>
  static Grid grid(const QuantizeArgs&, RowRange range) {
    return {range.size(), kRowThreads};
  }
  template <Simt S>
  static constexpr void run(S& s, const QuantizeArgs& args, RowRange range) {
    const int64_t token = range.from + s.block(), n_blocks = args.x.n_cols / 32;
    const float* x = row_of(args.x, token);
    const int group = s.thread() / 32, n_groups = s.n_threads() / 32, column = s.lane() % 32;
    for (int64_t first = 0; first < n_blocks; first += n_groups) {
      const int64_t block = first + group;
      const bool is_active = block < n_blocks;  // the lanes of a wave stay together
      float value = is_active ? x[block * 32 + column] : 0.0f;
      float sums = 0;  // of 16 columns
      for (int term = 0; term < kTerms; ++term) {
        const float largest = max_of_32(s, value < 0 ? -value : value);
        const int32_t code = code_of<S>(value, inverse_step(largest));
        int32_t sum = code;
        for (int mask = 8; mask > 0; mask /= 2) sum += s.shuffle_xor(sum, mask);
        const float d = largest / 127.0f;
        sums += d * static_cast<float>(sum);
        value = S::fma(-d, static_cast<float>(code), value);
        if (!is_active) continue;
        const Q8Matrix y = q8_matrix<kTerms>(args.y, term);
        y.codes_of(token, block)[column] = static_cast<int8_t>(code);
        if (column == 0) *y.scale_of(token, block) = d;
      }
      if (is_active && column % 16 == 0) q8_matrix<kTerms>(args.y, 0).sums_of(token, block)[column / 16] = sums;
    }
  }
};

}  // namespace olx::kernels::simt
