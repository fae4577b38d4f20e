#pragma once
// rms_norm over sums of a block that are made wrongly, each in one way: what broken_simt.inc lists.

#include "kernels/simt/norm.h"

namespace olx::kernels::simt {

template <typename Sum>
struct RmsNormOver {
  template <int kWave>
  static Grid grid(const RmsNormArgs&, RowRange range) {
    return {range.size(), kMaxThreads};
  }
  template <Simt S>
  static constexpr void run(S& s, const RmsNormArgs& args, RowRange range) {
    const int64_t token = range.from + s.block(), n = args.group_cols;
    for (int64_t group = 0; group < args.x.n_cols; group += n) {
      const float* x = row_of(args.x, token) + group;
      float* y = row_of(args.y, token) + group;
      float sum = 0;
      for (int64_t i = s.thread(); i < n; i += s.n_threads()) sum += x[i] * x[i];
      const float mean = Sum::of(s, sum) / static_cast<float>(n);
      const float inverse = 1.0f / S::sqrt(mean + args.eps);
      for (int64_t i = s.thread(); i < n; i += s.n_threads())
        y[i] = args.weight != nullptr ? x[i] * inverse * args.weight[i] : x[i] * inverse;
    }
  }
};

// The sum of a block with the parts that may be wrong left open.
struct BlockSumParts {
  static constexpr int kSlots = 8;
  template <Simt S>
  static constexpr float of_wave(S& s, float value) {
    float sum[1] = {value};
    s.reduce_add(sum);
    return sum[0];
  }
  template <Simt S>
  static constexpr void before(S& s) {
    s.barrier();
  }
  template <Simt S>
  static constexpr void after(S& s) {
    s.barrier();
  }
  template <Simt S>
  static constexpr int n_slots(S& s) {
    return s.n_waves();
  }
};
template <typename Parts>
struct SumOf {
  struct Slots;
  template <Simt S>
  static constexpr float of(S& s, float value) {
    auto slots = s.template shared<Slots, float, Parts::kSlots>();
    const float sum = Parts::of_wave(s, value);
    Parts::before(s);
    if (s.lane() == 0) slots.store(s.wave(), sum);
    Parts::after(s);
    float total = 0;
    for (int i = 0; i < Parts::n_slots(s); ++i) total += slots.load(i);
    return total;
  }
};

struct NoBarrierBefore : BlockSumParts {
  template <Simt S>
  static constexpr void before(S&) {}
};
struct NoBarrierAfter : BlockSumParts {
  template <Simt S>
  static constexpr void after(S&) {}
};
struct BarrierOfOneWave : BlockSumParts {
  template <Simt S>
  static constexpr void after(S& s) {
    if (s.wave() == 0) s.barrier();
  }
};
struct WaveSyncForBarrier : BlockSumParts {
  template <Simt S>
  static constexpr void after(S& s) {
    s.wave_sync();
  }
};
// A butterfly over 32 lanes, whatever the wave.
struct HalfAWave : BlockSumParts {
  template <Simt S>
  static constexpr float of_wave(S& s, float value) {
    for (int mask = 16; mask > 0; mask /= 2) value += s.shuffle_xor(value, mask);
    return value;
  }
};
// Over 64, whatever the wave.
struct TwoWaves : BlockSumParts {
  template <Simt S>
  static constexpr float of_wave(S& s, float value) {
    for (int mask = 32; mask > 0; mask /= 2) value += s.shuffle_xor(value, mask);
    return value;
  }
};
struct EightWaves : BlockSumParts {
  template <Simt S>
  static constexpr int n_slots(S&) {
    return 8;
  }
};
struct FourSlots : BlockSumParts {
  static constexpr int kSlots = 4;
};
struct ForgetsAWave : BlockSumParts {
  template <Simt S>
  static constexpr int n_slots(S& s) {
    return s.n_waves() - 1;
  }
};

}  // namespace olx::kernels::simt
