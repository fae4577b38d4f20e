#pragma once
// Products of a few tokens by kernels that encode the activations on their own: what is a norm, a
// quantize and matmuls otherwise, with a launch each, is one. A block encodes 2048 columns of up to
// eight tokens into shared memory, multiplies them by its rows of weights, and goes on to the next
// columns. What divides a normalised row is known at the end and is a factor of the sums, so that
// x is read once and codes are those of x times the norm's weights.
//
// Every block encodes all of x again, for 16 rows or more in waves of 32: worth it where steps are
// short and launches many. Not measured on a device.

#include <bit>
#include <type_traits>

#include "kernels/simt/elementwise.h"
#include "kernels/simt/kv_store.h"
#include "kernels/simt/matmul.h"
#include "kernels/simt/norm.h"
#include "kernels/simt/quantize.h"

namespace olx::kernels::simt {

constexpr int kFusedThreads = 256;
constexpr int kFusedGroups = 64;  // of 32 columns, at a time
constexpr int kFusedRows = 4;     // of weights, a wave

inline bool accepts_few_rows(const MatmulArgs& args) {
  return args.y.n_rows <= kTileTokens && is_matrix_aligned(args.w);
}
inline bool accepts_few_gated(const GatedMatmulArgs& args) {
  return args.y.n_rows <= kTileTokens && is_matrix_aligned(args.gate) && is_matrix_aligned(args.up);
}
inline bool accepts_few_qkv(const QkvMatmulArgs& args) {
  return args.y.n_rows <= kTileTokens && is_matrix_aligned(args.q) && is_matrix_aligned(args.k) &&
         is_matrix_aligned(args.v) && args.q.dtype == args.k.dtype;
}
// v of the type of q and k.
inline bool accepts_few_alike(const QkvMatmulArgs& args) {
  return accepts_few_qkv(args) && args.q.dtype == args.v.dtype;
}
// As files of mixed types have it for layers that need more bits.
inline bool accepts_few_v_q6_k(const QkvMatmulArgs& args) {
  return accepts_few_qkv(args) && args.v.dtype == DType::kQ6_K;
}

// Of so many tokens at most: a single one has registers of its own, and no branches for others.
template <int kTokens>
struct FusedSums {
  float row[kFusedRows][kTokens] = {};
  float factor[kTokens] = {};  // of each token's sums: what a norm divides by
  // Row r of the token that lane number `lane` writes.
  constexpr float of_lane(int r, int lane) const {
    float sum = 0;
    unrolled<kTokens>([&]<int i>() {
      if (kTokens == 1 || lane == i) sum = row[r][i] * factor[i];
    });
    return sum;
  }
};

// run.operator()<the most tokens that sums are kept for>().
template <typename Run>
constexpr void with_token_count(int64_t n_tokens, Run run) {
  if (n_tokens == 1)
    run.template operator()<1>();
  else
    run.template operator()<kTileTokens>();
}

// Tags of shared memory: the same for every type of weights, since a kernel may hold the arrays of
// all types it multiplies (and of all functions the compiler did not inline).
struct FusedCodes;
struct FusedScales;
struct FusedHalves;
struct FusedSquares;

template <typename Type>
struct FusedProducts {
  // All threads of a block come here together, each with the rows of its wave; all lanes get the
  // sums.
  template <Simt S, int kTokens>
  static constexpr void run(S& s, const ActivationView& x, const float* norm_weight, float norm_eps,
                            const uint8_t* const (&rows)[kFusedRows], FusedSums<kTokens>& sums) {
    const int64_t n_groups = x.n_cols / 32;
    const int n_tokens = kTokens == 1 ? 1 : static_cast<int>(x.n_tokens);
    float squares[kTokens] = {};
    for (int64_t first = 0; first < n_groups; first += kFusedGroups) {
      const auto n = static_cast<int>(smaller(n_groups - first, kFusedGroups));
      if (first > 0) s.barrier();  // the columns before have been read
      encode(s, x, norm_weight, first, n, squares);
      s.barrier();
      for (int group = s.lane(); group < n; group += S::kWave) {
        Codes w[kFusedRows];
        for (int r = 0; r < kFusedRows; ++r) w[r] = load_group<Type, S>(rows[r], first + group);
        for (int i = 0; i < kTokens; ++i) {
          if (i >= n_tokens) continue;
          const auto inputs = read(s, i, group);
          for (int r = 0; r < kFusedRows; ++r)
            sums.row[r][i] = CodesTimesQ8<Type>::template add<S>(w[r], inputs, sums.row[r][i]);
        }
      }
    }
    for (int r = 0; r < kFusedRows; ++r) s.reduce_add(sums.row[r]);
    set_factors(s, x.n_cols, norm_weight != nullptr, norm_eps, squares, sums);
  }

 private:
  // Lanes read words of neighbouring groups, and write those of one: neither meets a bank twice.
  static constexpr int kStride = kFusedGroups + 1;
  template <Simt S>
  static constexpr auto codes(S& s) {
    return s.template shared<FusedCodes, int32_t, kTileTokens * 8 * kStride>();
  }
  template <Simt S>
  static constexpr auto scales(S& s) {
    return s.template shared<FusedScales, float, kTileTokens * kFusedGroups>();
  }
  template <Simt S>
  static constexpr auto halves(S& s) {
    return s.template shared<FusedHalves, float, kTileTokens * 2 * kFusedGroups>();
  }

  // Groups [first, first + n) of all tokens: eight lanes a group, four columns each.
  template <Simt S, int kTokens>
  static constexpr void encode(S& s, const ActivationView& x, const float* norm_weight,
                               int64_t first, int n, float (&squares)[kTokens]) {
    const auto* data = static_cast<const float*>(x.data);
    // Together four columns are one load; alone they may lie anywhere.
    const bool is_aligned = std::bit_cast<uintptr_t>(data) % 16 == 0 &&
                            std::bit_cast<uintptr_t>(norm_weight) % 16 == 0 &&
                            x.row_stride_elems % 4 == 0;
    const int part = s.lane() % 8;
    for (int i = 0; i < kTokens; ++i) {
      if (kTokens > 1 && i >= x.n_tokens) continue;
      for (int from = 0; from < n; from += kFusedThreads / 8) {
        const int group = from + s.thread() / 8;
        const bool is_active = group < n;  // the lanes of a wave stay together
        float values[4] = {};
        if (is_active) {
          const int64_t col = (first + group) * 32 + part * 4;
          load4(data + i * x.row_stride_elems + col, is_aligned, values);
          for (int j = 0; j < 4; ++j) squares[i] += values[j] * values[j];
          if (norm_weight != nullptr) {
            float weights[4];
            load4(norm_weight + col, is_aligned, weights);
            for (int j = 0; j < 4; ++j) values[j] *= weights[j];
          }
        }
        float largest = 0;
        for (int j = 0; j < 4; ++j)
          largest = larger(largest, values[j] < 0 ? -values[j] : values[j]);
        for (int mask = 4; mask > 0; mask /= 2)
          largest = larger(largest, s.shuffle_xor(largest, mask));
        uint32_t word = 0;
        int32_t sum = 0;  // of 16 columns
        for (int j = 0; j < 4; ++j) {
          const int32_t code = code_of<S>(values[j], inverse_step(largest));
          word |= (static_cast<uint32_t>(code) & 255) << (8 * j);
          sum += code;
        }
        for (int mask = 2; mask > 0; mask /= 2) sum += s.shuffle_xor(sum, mask);
        if (!is_active) continue;
        const float d = largest / 127.0f;
        codes(s).store((i * 8 + part) * kStride + group, static_cast<int32_t>(word));
        if (part % 4 == 0)
          halves(s).store((i * 2 + part / 4) * kFusedGroups + group, d * static_cast<float>(sum));
        if (part == 0) scales(s).store(i * kFusedGroups + group, d);
      }
    }
  }
  static constexpr void load4(const float* from, bool is_aligned, float (&values)[4]) {
    if (is_aligned) {
      const auto words =
          load_as<Words<4>>(static_cast<const uint8_t*>(static_cast<const void*>(from)));
      for (int j = 0; j < 4; ++j) values[j] = std::bit_cast<float>(words.word[j]);
    } else {
      for (int j = 0; j < 4; ++j) values[j] = from[j];
    }
  }
  template <Simt S>
  static constexpr typename CodesTimesQ8<Type>::Inputs read(S& s, int token, int group) {
    typename CodesTimesQ8<Type>::Inputs inputs{};
    for (int j = 0; j < 8; ++j)
      inputs.codes[j] = static_cast<uint32_t>(codes(s).load((token * 8 + j) * kStride + group));
    inputs.scale = scales(s).load(token * kFusedGroups + group);
    for (int j = 0; j < 2; ++j)
      inputs.sums[j] = halves(s).load((token * 2 + j) * kFusedGroups + group);
    return inputs;
  }

  template <Simt S, int kTokens>
  static constexpr void set_factors(S& s, int64_t n_cols, bool has_norm, float eps,
                                    float (&squares)[kTokens], FusedSums<kTokens>& sums) {
    for (int i = 0; i < kTokens; ++i) sums.factor[i] = 1.0f;
    if (!has_norm) return;
    s.reduce_add(squares);
    auto slots = s.template shared<FusedSquares, float, kFusedThreads / S::kWave * kTileTokens>();
    if (s.lane() == 0)
      for (int i = 0; i < kTokens; ++i) slots.store(s.wave() * kTileTokens + i, squares[i]);
    s.barrier();
    for (int i = 0; i < kTokens; ++i) {
      float total = 0;
      for (int wave = 0; wave < s.n_waves(); ++wave) total += slots.load(wave * kTileTokens + i);
      sums.factor[i] = inverse_root<S>(total, n_cols, eps);
    }
  }
};

template <typename Type>
constexpr const uint8_t* row_of(const WeightView& w, int64_t row) {
  return static_cast<const uint8_t*>(w.data) + row * row_bytes<Type>(w.n_cols);
}

// kMatmul of f32 rows that it encodes.
template <typename Type>
struct MatmulRows {
  template <int kWave>
  static Grid grid(const MatmulArgs&, RowRange range) {
    return grid_of_waves<kWave>(range, kFusedThreads, kFusedRows);
  }
  template <Simt S>
  static constexpr void run(S& s, const MatmulArgs& args, RowRange range) {
    const int64_t first = range.from + (s.block() * s.n_waves() + s.wave()) * kFusedRows;
    const uint8_t* rows[kFusedRows];
    for (int r = 0; r < kFusedRows; ++r)  // behind the last row the last one again
      rows[r] = row_of<Type>(args.w, smaller(first + r, range.to - 1));
    with_token_count(args.y.n_rows, [&]<int kTokens>() {
      FusedSums<kTokens> sums;
      FusedProducts<Type>::run(s, args.x, nullptr, 0.0f, rows, sums);
      if (s.lane() >= args.y.n_rows) return;
      for (int r = 0; r < kFusedRows; ++r)
        if (first + r < range.to) write_y(args, first + r, s.lane(), sums.of_lane(r, s.lane()));
    });
  }
};

constexpr float with_bias(float sum, const float* bias, int64_t row) {
  return bias != nullptr ? sum + bias[row] : sum;
}

// A wave has the rows of two columns of y: of gate, and of up.
template <typename Type>
struct GatedMatmul {
  static constexpr int kCols = kFusedRows / 2;
  template <int kWave>
  static Grid grid(const GatedMatmulArgs&, RowRange range) {
    return grid_of_waves<kWave>(range, kFusedThreads, kCols);
  }
  template <Simt S>
  static constexpr void run(S& s, const GatedMatmulArgs& args, RowRange range) {
    const int64_t first = range.from + (s.block() * s.n_waves() + s.wave()) * kCols;
    const uint8_t* rows[kFusedRows];
    for (int c = 0; c < kCols; ++c) {
      const int64_t row = smaller(first + c, range.to - 1);
      rows[c] = row_of<Type>(args.gate, row);
      rows[kCols + c] = row_of<Type>(args.up, row);
    }
    with_token_count(args.y.n_rows, [&]<int kTokens>() {
      FusedSums<kTokens> sums;
      FusedProducts<Type>::run(s, args.x, args.norm_weight, args.norm_eps, rows, sums);
      if (s.lane() >= args.y.n_rows) return;
      for (int c = 0; c < kCols; ++c) {
        const int64_t row = first + c;
        if (row >= range.to) continue;
        const float gate = with_bias(sums.of_lane(c, s.lane()), args.gate_bias, row);
        const float up = with_bias(sums.of_lane(kCols + c, s.lane()), args.up_bias, row);
        row_of(args.y, s.lane())[row] = activate<S>(args.activation, gate) * up;
      }
    });
  }
};

// A wave has two units, so that both rows of a rotation are its own. v may be of another type than
// q and k: its units then begin in a block of their own.
template <typename Type, typename TypeOfV = Type>
struct QkvMatmul {
  static constexpr bool kIsAlike = std::is_same_v<Type, TypeOfV>;
  static constexpr int kUnits = kFusedRows / 2;

  template <int kWave>
  static Grid grid(const QkvMatmulArgs& args, RowRange range) {
    if constexpr (kIsAlike) return grid_of_units<kWave>(range);
    const int64_t n_before = grid_of_units<kWave>(before_v(args, range)).n_blocks;
    return {n_before + grid_of_units<kWave>(of_v(args, range)).n_blocks, kFusedThreads};
  }
  template <Simt S>
  static constexpr void run(S& s, const QkvMatmulArgs& args, RowRange range) {
    if constexpr (kIsAlike) {
      run_units<Type>(s, args, range, s.block());
    } else {
      const RowRange before = before_v(args, range);
      const int64_t n_before = grid_of_units<S::kWave>(before).n_blocks;
      if (s.block() < n_before)
        run_units<Type>(s, args, before, s.block());
      else
        run_units<TypeOfV>(s, args, of_v(args, range), s.block() - n_before);
    }
  }

 private:
  template <int kWave>
  static constexpr Grid grid_of_units(RowRange range) {
    return grid_of_waves<kWave>(range, kFusedThreads, kUnits);
  }
  static constexpr int64_t first_of_v(const QkvMatmulArgs& args) {
    return (args.n_heads + args.kv.n_kv_heads) * (args.kv.head_dim / 2);
  }
  static constexpr RowRange before_v(const QkvMatmulArgs& args, RowRange range) {
    const int64_t end = first_of_v(args);
    return {smaller(range.from, end), smaller(range.to, end)};
  }
  static constexpr RowRange of_v(const QkvMatmulArgs& args, RowRange range) {
    const int64_t first = first_of_v(args);
    return {larger(range.from, first), larger(range.to, first)};
  }

  // The rows of a unit, counted in their head.
  struct Unit {
    int part;  // 0: q, 1: k, 2: v
    int64_t head;
    int64_t pair;
    bool is_rotated;
    int64_t first;
    int64_t second;
  };
  static constexpr Unit unit_of(const QkvMatmulArgs& args, int64_t index) {
    // In 32 bits: a division of 64 is a loop on a device.
    const auto n_pairs = static_cast<uint32_t>(args.kv.head_dim / 2);
    const int64_t n_q = args.n_heads * n_pairs, n_k = args.kv.n_kv_heads * n_pairs;
    const int part = index < n_q ? 0 : index < n_q + n_k ? 1 : 2;
    const auto of_part = static_cast<uint32_t>(index - (part == 0   ? 0
                                                        : part == 1 ? n_q
                                                                    : n_q + n_k));
    const int64_t pair = of_part % n_pairs, n_rotated = args.table.n_cols / 2;
    const bool is_rotated = part < 2 && pair < n_rotated;
    const bool is_apart = is_rotated && args.is_neox;
    return {part,       of_part / n_pairs,          pair,
            is_rotated, is_apart ? pair : 2 * pair, is_apart ? pair + n_rotated : 2 * pair + 1};
  }

  template <typename Weights, Simt S>
  static constexpr void run_units(S& s, const QkvMatmulArgs& args, RowRange range, int64_t block) {
    const int64_t first = range.from + (block * s.n_waves() + s.wave()) * kUnits;
    const uint8_t* rows[kFusedRows];
    for (int u = 0; u < kUnits; ++u) {
      const Unit unit = unit_of(args, smaller(first + u, range.to - 1));
      const WeightView& w = unit.part == 0 ? args.q : unit.part == 1 ? args.k : args.v;
      rows[2 * u] = row_of<Weights>(w, unit.head * args.kv.head_dim + unit.first);
      rows[2 * u + 1] = row_of<Weights>(w, unit.head * args.kv.head_dim + unit.second);
    }
    with_token_count(args.y.n_rows, [&]<int kTokens>() {
      FusedSums<kTokens> sums;
      FusedProducts<Weights>::run(s, args.x, args.norm_weight, args.norm_eps, rows, sums);
      const int token = s.lane();
      if (token >= args.y.n_rows) return;
      for (int u = 0; u < kUnits; ++u)
        if (first + u < range.to)
          finish_unit(s, args, first + u, token, sums.of_lane(2 * u, token), sums.of_lane(2 * u + 1, token));
    });
  }
  // The two sums of a unit: bias, rotation, and to where they belong.
  template <Simt S>
  static constexpr void finish_unit(S& s, const QkvMatmulArgs& args, int64_t index, int token, float a, float b) {
    const Unit unit = unit_of(args, index);
    const float* bias = unit.part == 0 ? args.q_bias : unit.part == 1 ? args.k_bias : args.v_bias;
    const int64_t start = unit.head * args.kv.head_dim;
    a = with_bias(a, bias, start + unit.first);
    b = with_bias(b, bias, start + unit.second);
    if (unit.is_rotated) {
      const float* angle = row_of(args.table, token) + 2 * unit.pair;
      const float turned = a * angle[0] - b * angle[1];
      b = a * angle[1] + b * angle[0];
      a = turned;
    }
    if (unit.part == 0 || !args.is_stored()) {
      const int64_t n_q = args.n_heads * args.kv.head_dim, n_k = args.kv.n_kv_heads * args.kv.head_dim;
      float* y = row_of(args.y, token) + start + (unit.part == 0 ? 0 : n_q + (unit.part - 1) * n_k);
      y[unit.first] = a;
      y[unit.second] = b;
    } else {
      void* plane = unit.part == 1 ? args.kv.k : args.kv.v;
      store(s, args, plane, token, unit.head, unit.first, a);
      store(s, args, plane, token, unit.head, unit.second, b);
    }
  }
  // Not of Q8_0, whose blocks are not one wave's.
  template <Simt S>
  static constexpr void store(S& s, const QkvMatmulArgs& args, void* plane, int token, int64_t head, int64_t col, float value) {
    if (args.kv.dtype == DType::kF32)
      store_as<ValuesF32>(s, args, plane, token, head, col, value);
    else
      store_as<ValuesF16>(s, args, plane, token, head, col, value);
  }
  template <typename Cached, Simt S>
  static constexpr void store_as(S& s, const QkvMatmulArgs& args, void* plane, int token, int64_t head, int64_t col, float value) {
    const TokenSlot slot = args.tokens[token];
    store_column<Cached>(s, kv_row<Cached>(args.kv, plane, slot.sequence, slot.position, head), col, value, true);
  }
};

}  // namespace olx::kernels::simt
