// Rotary position embedding: the table of angles, and the rotation with it.

#include <algorithm>
#include <cmath>
#include <numbers>

#include "kernels/reference/sink.h"

namespace olx::kernels::reference {
namespace {

// The pair index at which a head turns `n_turns` times over the training context (YaRN, equation 21 solved for d).
double yarn_boundary(const RopeConfig& config, double n_turns) {
  return static_cast<double>(config.n_rot) *
         std::log(static_cast<double>(config.n_ctx_orig) / (2 * std::numbers::pi * n_turns)) /
         (2 * std::log(config.freq_base));
}

struct Yarn {
  explicit Yarn(const RopeConfig& config) : config_(config), magnitude(config.attn_factor) {
    if (config.ext_factor == 0) return;
    low_ = std::max(0.0, std::floor(yarn_boundary(config, config.beta_fast)));
    high_ = std::min(static_cast<double>(config.n_rot - 1), std::ceil(yarn_boundary(config, config.beta_slow)));
    magnitude *= 1 + 0.1 * std::log(1 / config.freq_scale);
  }
  // What the plain angle of pair i becomes: interpolated, extrapolated, or a mix of both.
  double angle(int64_t pair, double plain) const {
    const double interpolated = config_.freq_scale * plain;
    if (config_.ext_factor == 0) return interpolated;
    const double position = (static_cast<double>(pair) - low_) / std::max(0.001, high_ - low_);
    const double mix = (1 - std::clamp(position, 0.0, 1.0)) * config_.ext_factor;
    return interpolated * (1 - mix) + plain * mix;
  }

 private:
  const RopeConfig& config_;
  double low_ = 0;
  double high_ = 0;

 public:
  double magnitude;  // multiplies cos and sin
};

template <typename Sink>
void rope_table(const RopeTableArgs& args, RowRange range, Sink& sink) {
  const RopeConfig& config = args.config;
  const Yarn yarn(config);
  const double bound = 2 * kHalfUlp * std::abs(yarn.magnitude);
  for (int64_t token = range.from; token < range.to; ++token) {
    for (int64_t pair = 0; pair < config.n_rot / 2; ++pair) {
      double angle = args.tokens[token].position *
                     std::pow(config.freq_base, -2.0 * static_cast<double>(pair) / static_cast<double>(config.n_rot));
      if (config.freq_factors != nullptr) angle /= config.freq_factors[pair];
      angle = yarn.angle(pair, angle);
      sink(token, 2 * pair, std::cos(angle) * yarn.magnitude, bound);
      sink(token, 2 * pair + 1, std::sin(angle) * yarn.magnitude, bound);
    }
  }
}

template <typename Sink>
void rope(const RopeArgs& args, RowRange range, Sink& sink) {
  const int64_t n_pairs = args.table.n_cols / 2;
  const WideMatrix x(args.x), table(args.table);
  for (int64_t token = range.from; token < range.to; ++token) {
    for (int64_t head = 0; head < args.n_heads; ++head) {
      const int64_t start = head * args.head_dim;
      for (int64_t pair = 0; pair < n_pairs; ++pair) {
        const int64_t first = start + (args.is_neox ? pair : 2 * pair);
        const int64_t second = args.is_neox ? first + n_pairs : first + 1;
        const double a = x.at(token, first), b = x.at(token, second);
        const double cosine = table.at(token, 2 * pair), sine = table.at(token, 2 * pair + 1);
        const double bound = 0x1p-22 * (std::abs(a) + std::abs(b));
        sink(token, first, a * cosine - b * sine, bound);
        sink(token, second, a * sine + b * cosine, bound);
      }
      for (int64_t i = 2 * n_pairs; i < args.head_dim; ++i) sink(token, start + i, x.at(token, start + i), 0);
    }
  }
}

}  // namespace

void rope_table_reference(const RopeTableArgs& args, RowRange range) {
  StoreF32 sink{args.table};
  rope_table(args, range, sink);
}

void rope_reference(const RopeArgs& args, RowRange range) {
  StoreF32 sink{args.x};
  rope(args, range, sink);
}

Expected evaluate(const RopeTableArgs& args) {
  return record(args, args.table, [](const RopeTableArgs& a, RowRange r, Record& s) { rope_table(a, r, s); });
}

Expected evaluate(const RopeArgs& args) {
  return record(args, args.x, [](const RopeArgs& a, RowRange r, Record& s) { rope(a, r, s); });
}

}  // namespace olx::kernels::reference
