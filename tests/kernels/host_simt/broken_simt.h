#pragma once
// rms_norm over sums of a block that are made wrongly, a matmul by tiles that goes wrong, and
// attention and others on a machine that does, each in one way: what broken_simt.inc lists.

#include "kernels/simt/attention.h"
#include "kernels/simt/fused_matmul.h"
#include "kernels/simt/matmul_tiles.h"
#include "kernels/simt/norm.h"
#include "kernels/simt/qkv_store.h"
#include "kernels/simt/top_k.h"

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

inline bool accepts_many_tokens(const MatmulArgs& args) { return args.y.n_rows > kFewTokens; }

enum class TileFault { kNone, kLayout, kSums, kBarrier, kTail, kHalfAWave };

// 16 rows of w for 16 tokens by one wave, two buffers of 32 columns.
template <TileFault fault>
struct BrokenTiles {
  using Type = CodesQ4_1;
  struct RowCodes;
  struct TokenCodes;

  // The layout of S with one mistake.
  template <typename Right>
  struct Wrong : Right {
    static constexpr TilePlace row_word(int lane, int i) {
      TilePlace place = Right::row_word(lane, i);
      if (fault == TileFault::kLayout) place.word ^= 1;  // col_word is as it was
      return place;
    }
    static constexpr TilePlace sum(int lane, int i) {
      TilePlace place = Right::sum(lane, i);
      if (fault == TileFault::kSums) place.word ^= 1;
      return place;
    }
  };

  template <int kWave>
  static Grid grid(const MatmulArgs& args, RowRange range) {
    return {n_tiles(range.size()) * n_tiles(args.y.n_rows), 64};
  }
  template <Simt S>
  static constexpr void run(S& s, const MatmulArgs& args, RowRange range) {
    using Layout = Wrong<typename S::TileLayout>;
    const int64_t n_groups = args.w.n_cols / 32, n_tokens = args.y.n_rows;
    const int64_t row = range.from + s.block() / n_tiles(n_tokens) * 16;
    const int64_t token = s.block() % n_tiles(n_tokens) * 16;
    auto rows = s.template shared<RowCodes, int32_t, 2 * 16 * 8>();
    auto tokens = s.template shared<TokenCodes, int32_t, 2 * 16 * 8>();
    const auto weights = [&](int64_t r, int64_t group) {
      return load_group<Type, S>(
          static_cast<const uint8_t*>(args.w.data) +
              smaller(row + r, range.to - 1) * row_bytes<Type>(args.w.n_cols),
          group);
    };
    const auto inputs = [&](int64_t t, int64_t group) {
      return CodesTimesQ8<Type>::load_inputs(args, smaller(token + t, n_tokens - 1), group);
    };
    const auto put = [&](int64_t group) {
      const int64_t at = group % 2 * 128 + s.thread() % 16 * 8;
      if (s.thread() < 16) {
        const Codes w = weights(s.thread(), group);
        for (int j = 0; j < 8; ++j) rows.store(at + j, w.q[j]);
      } else if (s.thread() < 32) {
        const auto x = inputs(s.thread() % 16, group);
        for (int j = 0; j < 8; ++j) tokens.store(at + j, static_cast<int32_t>(x.codes[j]));
      }
    };
    float y[Layout::kSums] = {};
    put(0);
    s.barrier();
    const int64_t end = fault == TileFault::kTail ? n_groups + n_groups % 2 : n_groups;
    for (int64_t step = 0; step < end; ++step) {
      const int64_t group = smaller(step, n_groups - 1);
      if (group + 1 < n_groups) put(group + 1);
      typename Tile<Layout>::Rows a{};
      for (int i = 0; i < Layout::kRowWords; ++i) {
        const TilePlace place = Layout::row_word(s.lane(), i);
        a.word[i] = rows.load(group % 2 * 128 + place.row * 8 + place.word);
      }
      const auto b = load_cols(s, tokens, group % 2 * 128, 8);
      typename Tile<Layout>::Sums sums{};
      if (fault != TileFault::kHalfAWave || s.lane() < S::kWave / 2) s.multiply(a, b, sums);
      for (int i = 0; i < Layout::kSums; ++i) {
        const TilePlace place = Layout::sum(s.lane(), i);
        const Codes w = weights(place.row, group);
        const auto x = inputs(place.word, group);
        y[i] += x.scale * w.scale[0] * static_cast<float>(sums.word[i]) -
                w.minimum[0] * (x.sums[0] + x.sums[1]);
      }
      if (fault != TileFault::kBarrier) s.barrier();
    }
    for (int i = 0; i < Layout::kSums; ++i) {
      const TilePlace place = Layout::sum(s.lane(), i);
      if (s.wave() == 0 && row + place.row < range.to && token + place.word < n_tokens)
        write_y(args, row + place.row, token + place.word, y[i]);
    }
  }

 private:
  static constexpr int64_t n_tiles(int64_t n) { return (n + 15) / 16; }
};

enum class AttentionFault {
  kNone,
  kLayout,
  kSums,
  kNeighbours,
  kOneTerm,
  kHalfAWave,
  kBarrierOfQueries,
  kBarrierOfScores,
  kBarrierOfWeights,
  kBarrierOfSegments,
  kWaveSync
};

// S with one mistake.
template <Simt S, AttentionFault fault>
struct FaultyMachine : S {
  explicit FaultyMachine(const S& s) : S(s) {}

  struct TileLayout : S::TileLayout {
    static constexpr TilePlace row_word(int lane, int i) {
      TilePlace place = S::TileLayout::row_word(lane, i);
      if (fault == AttentionFault::kLayout) place.word ^= 1;
      return place;
    }
    static constexpr TilePlace sum(int lane, int i) {
      TilePlace place = S::TileLayout::sum(lane, i);
      if (fault == AttentionFault::kSums) place.row ^= 1;
      return place;
    }
    static constexpr int neighbour(int token) {
      return fault == AttentionFault::kNeighbours ? token : S::TileLayout::neighbour(token);
    }
  };
  using Tile = simt::Tile<TileLayout>;
  constexpr void multiply_f16(const typename Tile::Rows& rows, const typename Tile::Cols& cols,
                              typename Tile::Floats& sums) {
    const bool is_low = n_products++ % 2 == 1;
    if (fault == AttentionFault::kOneTerm && is_low) return;
    if (fault == AttentionFault::kHalfAWave && S::lane() >= S::kWave / 2) return;
    S::multiply_f16(rows, cols, sums);
  }
  // A segment has four of them, and one before the first queries.
  constexpr void barrier() {
    const int i = n_barriers++;
    const bool is_left_out = (fault == AttentionFault::kBarrierOfQueries && i == 1) ||
                             (fault == AttentionFault::kBarrierOfScores && i == 2) ||
                             (fault == AttentionFault::kBarrierOfWeights && i == 3) ||
                             (fault == AttentionFault::kBarrierOfSegments && i == 4);
    if (!is_left_out) S::barrier();
  }
  constexpr void wave_sync() {
    if (fault != AttentionFault::kWaveSync) S::wave_sync();
  }

 private:
  int n_products = 0, n_barriers = 0;
};

// A split may have nothing to do, and then other barriers.
inline bool accepts_one_split(const AttentionArgs& args) {
  return accepts_tiles(args) && args.n_splits == 1;
}

template <AttentionFault fault>
struct FaultyAttention : Attention<ValuesF16> {
  template <Simt S>
  static constexpr void run(S& s, const AttentionArgs& args, RowRange range) {
    FaultyMachine<S, fault> machine(s);
    Attention<ValuesF16>::run(machine, args, range);
  }
};

// S without its kLeftOut-th barrier (from 0); -1: with all of them.
template <Simt S, int kLeftOut>
struct OneBarrierLess : S {
  explicit OneBarrierLess(const S& s) : S(s) {}
  constexpr void barrier() {
    if (n_barriers++ != kLeftOut) S::barrier();
  }

 private:
  int n_barriers = 0;
};
// Products of two terms, the second of which is not added.
template <typename Type>
struct ForgetsTheRest : CodesTimesQ8x2<Type> {
  template <Simt S>
  static constexpr float add(const Codes& w, const typename CodesTimesQ8x2<Type>::Inputs& x, float sum) {
    return CodesTimesQ8<Type>::template add<S>(w, x.near, sum);
  }
};

// S whose shuffles over kMask lanes give back what they were given; 0: as it is.
template <Simt S, int kMask>
struct OneShuffleLess : S {
  explicit OneShuffleLess(const S& s) : S(s) {}
  template <typename T>
  constexpr T shuffle_xor(T x, int mask) {
    return mask == kMask ? x : S::shuffle_xor(x, mask);
  }
};
template <typename Kernel, int kMask>
struct WithoutShuffle : Kernel {
  template <Simt S, typename Args>
  static constexpr void run(S& s, const Args& args, RowRange range) {
    OneShuffleLess<S, kMask> machine(s);
    Kernel::run(machine, args, range);
  }
};
template <typename Kernel, int kLeftOut>
struct WithoutBarrier : Kernel {
  template <Simt S, typename Args>
  static constexpr void run(S& s, const Args& args, RowRange range) {
    OneBarrierLess<S, kLeftOut> machine(s);
    Kernel::run(machine, args, range);
  }
};

}  // namespace olx::kernels::simt
