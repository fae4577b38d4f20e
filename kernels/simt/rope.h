#pragma once
// Rotary position embedding: the table of angles, in double, and the rotation with it. A block a
// token.

#include "kernels/simt/elementwise.h"

namespace olx::kernels::simt {

struct RopeTable {
  static constexpr int kThreads = 64;
  template <int kWave>
  static Grid grid(const RopeTableArgs&, RowRange range) {
    return {range.size(), kThreads};
  }
  template <Simt S>
  static constexpr void run(S& s, const RopeTableArgs& args, RowRange range) {
    const RopeConfig& config = args.config;
    const int64_t token = range.from + s.block(), n_pairs = config.n_rot / 2;
    float* table = row_of(args.table, token);
    const bool is_yarn = config.ext_factor != 0;
    const double magnitude = is_yarn
                                 ? config.attn_factor * (1 + 0.1 * S::log(1 / config.freq_scale))
                                 : config.attn_factor;
    for (int64_t pair = s.thread(); pair < n_pairs; pair += s.n_threads()) {
      const double exponent = -2.0 * static_cast<double>(pair) / static_cast<double>(config.n_rot);
      double plain =
          static_cast<double>(args.tokens[token].position) * S::pow(config.freq_base, exponent);
      if (config.freq_factors != nullptr) plain /= static_cast<double>(config.freq_factors[pair]);
      double angle = config.freq_scale * plain;
      if (is_yarn) {
        const double mix = extrapolation<S>(config, pair);
        angle = angle * (1 - mix) + plain * mix;
      }
      table[2 * pair] = static_cast<float>(S::cos(angle) * magnitude);
      table[2 * pair + 1] = static_cast<float>(S::sin(angle) * magnitude);
    }
  }

 private:
  // The pair at which a head turns n_turns times over the training context (YaRN, equation 21
  // solved for d).
  template <Simt S>
  static constexpr double boundary(const RopeConfig& config, double n_turns) {
    constexpr double kTwoPi = 6.283185307179586477;
    return static_cast<double>(config.n_rot) *
           S::log(static_cast<double>(config.n_ctx_orig) / (kTwoPi * n_turns)) /
           (2 * S::log(config.freq_base));
  }
  // How much of the plain angle a pair keeps.
  template <Simt S>
  static constexpr double extrapolation(const RopeConfig& config, int64_t pair) {
    double low = S::floor(boundary<S>(config, config.beta_fast)),
           high = S::ceil(boundary<S>(config, config.beta_slow));
    const double last = static_cast<double>(config.n_rot - 1);
    low = low > 0 ? low : 0;
    high = high < last ? high : last;
    const double width = high - low > 0.001 ? high - low : 0.001;
    double position = (static_cast<double>(pair) - low) / width;
    position = position < 0 ? 0 : position > 1 ? 1 : position;
    return (1 - position) * config.ext_factor;
  }
};

struct Rope {
  template <int kWave>
  static Grid grid(const RopeArgs&, RowRange range) {
    return {range.size(), kRowThreads};
  }
  template <Simt S>
  static constexpr void run(S& s, const RopeArgs& args, RowRange range) {
    const int64_t token = range.from + s.block(), n_pairs = args.table.n_cols / 2;
    float* x = row_of(args.x, token);
    const float* table = row_of(args.table, token);
    for (int64_t i = s.thread(); i < args.n_heads * n_pairs; i += s.n_threads()) {
      const int64_t pair = i % n_pairs, start = i / n_pairs * args.head_dim;
      const int64_t first = start + (args.is_neox ? pair : 2 * pair),
                    second = args.is_neox ? first + n_pairs : first + 1;
      const float a = x[first], b = x[second], cosine = table[2 * pair], sine = table[2 * pair + 1];
      x[first] = a * cosine - b * sine;
      x[second] = a * sine + b * cosine;
    }
  }
};

}  // namespace olx::kernels::simt
