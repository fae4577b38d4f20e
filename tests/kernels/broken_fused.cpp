// The matmuls with a norm before and something behind, qkv_store, rms_norm_add and top_k, with a fault chosen by template
// argument; rows in broken_kernels.inc, their twins in sound_kernels.inc.

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "gguf/quantize.h"
#include "kernels/api/args.h"
#include "kernels/reference/kv.h"
#include "tests/kernels/broken_formats.h"

namespace olx::kernels::broken {
namespace {

enum class Fault {
  kNone,
  kNoNorm,
  kNoEps,
  kNoNormWeight,
  kSwapsGateAndUp,
  kNoUpBias,
  kSiluAlways,
  kLeavesV,
  kPairsAlways,
  kTurnsV,
  kRotatesBehindTable,
  kOneHeadForK,
  kNoSequence,
  kNoOffset,
  kNormsV,
  kNormOfQForK,
  kNormBehindRotation,
  kKeepsQInX,
  kNoResidual,
  kAddsBeforeNorm,
  kUnsorted,
  kHigherIdFirst,
  kTakesMinusInfinity,
  kIgnoresNan,
  kColumnForId,
  kOneSlice,
  kLeavesTheRest,
};

// Row `row` of w times the normalised x.
template <Fault fault, typename Args>
double product(const Args& args, const WeightView& w, int64_t token, int64_t row) {
  const float* x = static_cast<const float*>(args.x.data) + token * args.x.row_stride_elems;
  const float* weights = static_cast<const float*>(w.data) + row * w.n_cols;
  double sum = 0, squares = 0;
  for (int64_t col = 0; col < w.n_cols; ++col) {
    const bool is_weighted = args.norm_weight != nullptr && fault != Fault::kNoNormWeight;
    sum += double{is_weighted ? x[col] * args.norm_weight[col] : x[col]} * weights[col];
    squares += double{x[col]} * x[col];
  }
  if (args.norm_weight == nullptr || fault == Fault::kNoNorm) return sum;
  const double eps = fault == Fault::kNoEps ? 1e-30 : args.norm_eps;
  return sum / std::sqrt(squares / static_cast<double>(w.n_cols) + eps);
}

template <Fault fault>
void gated_matmul(const GatedMatmulArgs& args, RowRange range) {
  for (int64_t token = 0; token < args.y.n_rows; ++token)
    for (int64_t row = range.from; row < range.to; ++row) {
      double g = product<fault>(args, args.gate, token, row),
             u = product<fault>(args, args.up, token, row);
      if (args.gate_bias != nullptr) g += args.gate_bias[row];
      if (args.up_bias != nullptr && fault != Fault::kNoUpBias) u += args.up_bias[row];
      if (fault == Fault::kSwapsGateAndUp) std::swap(g, u);
      double act = 0;
      switch (fault == Fault::kSiluAlways ? Activation::kSilu : args.activation) {
        case Activation::kSilu:
          act = g / (1 + std::exp(-g));
          break;
        case Activation::kGeluTanh:
          act = 0.5 * g * (1 + std::tanh(0.7978845608028654 * (g + 0.044715 * g * g * g)));
          break;
        case Activation::kGeluErf:
          act = 0.5 * g * std::erfc(-0.7071067811865476 * g);
          break;
        case Activation::kRelu:
          act = std::max(g, 0.0);
          break;
      }
      args.y.row(token)[row] = static_cast<float>(act * u);
    }
}

template <Fault fault>
void qkv_matmul(const QkvMatmulArgs& args, RowRange range) {
  const KvView& kv = args.kv;
  const int64_t n_pairs = kv.head_dim / 2, n_q = args.n_heads * n_pairs,
                n_k = kv.n_kv_heads * n_pairs;
  for (int64_t unit = range.from; unit < range.to; ++unit)
    for (int64_t token = 0; token < args.y.n_rows; ++token) {
      const int part = unit < n_q ? 0 : unit < n_q + n_k ? 1 : 2;
      if (part == 2 && fault == Fault::kLeavesV) continue;
      const int64_t of_part = unit - (part == 0 ? 0 : part == 1 ? n_q : n_q + n_k);
      const int64_t head = of_part / n_pairs, pair = of_part % n_pairs,
                    n_rotated = args.table.n_cols / 2;
      const bool is_rotated = (part < 2 || fault == Fault::kTurnsV) &&
                              (pair < n_rotated || (fault == Fault::kRotatesBehindTable && args.is_stored()));
      const bool is_apart =
          is_rotated && pair < n_rotated && args.is_neox && fault != Fault::kPairsAlways;
      const int64_t first = is_apart ? pair : 2 * pair,
                    second = is_apart ? pair + n_rotated : 2 * pair + 1;
      const WeightView& w = part == 0 ? args.q : part == 1 ? args.k : args.v;
      const float* bias = part == 0 ? args.q_bias : part == 1 ? args.k_bias : args.v_bias;
      const int64_t start = (part == 1 && fault == Fault::kOneHeadForK ? 0 : head) * kv.head_dim;
      double a = product<fault>(args, w, token, start + first),
             b = product<fault>(args, w, token, start + second);
      if (bias != nullptr) a += bias[start + first], b += bias[start + second];
      if (is_rotated) {
        const float* angle = args.table.row(token) + 2 * std::min(pair, n_rotated - 1);
        const double turned = a * angle[0] - b * angle[1];
        b = a * angle[1] + b * angle[0];
        a = turned;
      }
      const auto put = [&](int64_t col, double value) {
        const auto rounded = static_cast<float>(value);
        if (part == 0 || !args.is_stored()) {
          const int64_t first_of_part = part == 0 || fault == Fault::kNoOffset ? 0 : part == 1 ? n_q : n_q + n_k;
          args.y.row(token)[2 * first_of_part + head * kv.head_dim + col] = rounded;
          return;
        }
        const int64_t sequence = fault == Fault::kNoSequence ? 0 : args.tokens[token].sequence;
        std::byte* row = reference::kv_row(kv, part == 1 ? kv.k : kv.v, sequence,
                                           args.tokens[token].position, head);
        gguf::quantize_row(kv.dtype, &rounded, row + col * gguf::dtype_info(kv.dtype).block_bytes,
                           1);
      };
      put(first, a);
      put(second, b);
    }
}

template <Fault fault>
void qkv_store(const QkvStoreArgs& args, RowRange range) {
  const KvView& kv = args.kv;
  const int64_t dim = kv.head_dim, n_q = args.n_heads, n_k = kv.n_kv_heads,
                n_pairs = args.table.n_cols / 2;
  std::vector<double> head(static_cast<size_t>(dim));
  for (int64_t token = range.from; token < range.to; ++token)
    for (int64_t h = 0; h < n_q + 2 * n_k; ++h) {
      const int part = h < n_q ? 0 : h < n_q + n_k ? 1 : 2;
      if (part == 2 && fault == Fault::kLeavesV) continue;
      const int64_t of_part = h - (part == 0 ? 0 : part == 1 ? n_q : n_q + n_k);
      const float* x =
          args.x.row(token) + (part == 1 && fault == Fault::kOneHeadForK ? n_q : h) * dim;
      const float* norm = part == 0 || fault == Fault::kNormOfQForK ? args.q_norm : args.k_norm;
      if (part == 2 && fault != Fault::kNormsV) norm = nullptr;
      double squares = 0;
      for (int64_t i = 0; i < dim; ++i) squares += double{x[i]} * x[i];
      const double eps = fault == Fault::kNoEps ? 1e-30 : args.norm_eps;
      const double root = std::sqrt(squares / static_cast<double>(dim) + eps);
      const auto normalise = [&] {
        for (int64_t i = 0; norm != nullptr && fault != Fault::kNoNorm && i < dim; ++i)
          head[static_cast<size_t>(i)] *= (fault == Fault::kNoNormWeight ? 1.0f : norm[i]) / root;
      };
      for (int64_t i = 0; i < dim; ++i) head[static_cast<size_t>(i)] = x[i];
      if (fault != Fault::kNormBehindRotation) normalise();
      const bool is_rotated = part < 2 || fault == Fault::kTurnsV;
      const int64_t n_turned = fault == Fault::kRotatesBehindTable ? dim / 2 : n_pairs;
      for (int64_t pair = 0; is_rotated && pair < n_turned; ++pair) {
        const bool is_apart = args.is_neox && pair < n_pairs && fault != Fault::kPairsAlways;
        double& first = head[static_cast<size_t>(is_apart ? pair : 2 * pair)];
        double& second = head[static_cast<size_t>(is_apart ? pair + n_pairs : 2 * pair + 1)];
        const float* angle = args.table.row(token) + 2 * std::min(pair, n_pairs - 1);
        const double a = first, b = second;
        first = a * angle[0] - b * angle[1];
        second = a * angle[1] + b * angle[0];
      }
      if (fault == Fault::kNormBehindRotation) normalise();
      const std::vector<float> rounded(head.begin(), head.end());
      if (part == 0) {
        const MatrixView& to = fault == Fault::kKeepsQInX ? args.x : args.y;
        std::copy(rounded.begin(), rounded.end(), to.row(token) + h * dim);
        continue;
      }
      const int64_t sequence = fault == Fault::kNoSequence ? 0 : args.tokens[token].sequence;
      std::byte* row = reference::kv_row(kv, part == 1 ? kv.k : kv.v, sequence,
                                         args.tokens[token].position, of_part);
      gguf::quantize_row(kv.dtype, rounded.data(), row, dim);
    }
}

template <Fault fault>
void rms_norm_add(const RmsNormAddArgs& args, RowRange range) {
  for (int64_t token = range.from; token < range.to; ++token) {
    const int64_t n = args.x.n_cols;
    const float *x = args.x.row(token), *residual = args.residual.row(token);
    const auto at = [&](int64_t i) {
      return fault == Fault::kAddsBeforeNorm ? double{x[i]} + residual[i] : double{x[i]};
    };
    double squares = 0;
    for (int64_t i = 0; i < n; ++i) squares += at(i) * at(i);
    const double eps = fault == Fault::kNoEps ? 1e-30 : args.eps;
    const double root = std::sqrt(squares / static_cast<double>(n) + eps);
    for (int64_t i = 0; i < n; ++i) {
      const bool is_weighted = args.weight != nullptr && fault != Fault::kNoNormWeight;
      const double y = at(i) / root * (is_weighted ? args.weight[i] : 1.0f);
      const bool is_added = fault != Fault::kNoResidual && fault != Fault::kAddsBeforeNorm;
      args.y.row(token)[i] = static_cast<float>(is_added ? residual[i] + y : y);
    }
  }
}

struct Entry {
  float value;
  int32_t id;
};

template <Fault fault>
void top_k(const TopKArgs& args, RowRange range) {
  constexpr float kNone = -std::numeric_limits<float>::infinity();
  for (int64_t unit = range.from; unit < range.to; ++unit) {
    const int64_t token = unit / args.n_slices(), slice = unit % args.n_slices();
    const int64_t from = fault == Fault::kOneSlice ? 0 : slice * args.slice_cols;
    const int64_t to = std::min(from + args.slice_cols, args.x.n_cols);
    std::vector<Entry> entries;
    bool has_nan = false;
    for (int64_t col = from; col < to; ++col) {
      const float value = args.x.row(token)[col];
      const bool has_id = args.x_ids != nullptr && fault != Fault::kColumnForId;
      has_nan = has_nan || std::isnan(value);
      if (value > kNone || (fault == Fault::kTakesMinusInfinity && value == kNone))
        entries.push_back({value, has_id ? args.x_ids[token * args.x.row_stride_elems + col]
                                         : static_cast<int32_t>(col)});
    }
    if (fault != Fault::kUnsorted)
      std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
        if (a.value != b.value) return a.value > b.value;
        return fault == Fault::kHigherIdFirst ? a.id > b.id : a.id < b.id;
      });
    if (has_nan && fault != Fault::kIgnoresNan)
      entries.assign(1, {std::numeric_limits<float>::quiet_NaN(), -1});
    if (fault == Fault::kLeavesTheRest)
      entries.resize(std::min(entries.size(), static_cast<size_t>(args.k)));
    else
      entries.resize(static_cast<size_t>(args.k), {kNone, -1});
    for (size_t i = 0; i < entries.size(); ++i) {
      const int64_t col = slice * args.k + static_cast<int64_t>(i);
      args.y.row(token)[col] = entries[i].value;
      args.y_ids[token * args.y.row_stride_elems + col] = entries[i].id;
    }
  }
}

}  // namespace

FAULTY(GatedMatmulArgs, gated_matmul_sound, gated_matmul, kNone)
FAULTY(GatedMatmulArgs, gated_matmul_forgets_the_norm, gated_matmul, kNoNorm)
FAULTY(GatedMatmulArgs, gated_matmul_forgets_eps, gated_matmul, kNoEps)
FAULTY(GatedMatmulArgs, gated_matmul_forgets_the_weights_of_the_norm, gated_matmul, kNoNormWeight)
FAULTY(GatedMatmulArgs, gated_matmul_swaps_gate_and_up, gated_matmul, kSwapsGateAndUp)
FAULTY(GatedMatmulArgs, gated_matmul_ignores_the_bias_of_up, gated_matmul, kNoUpBias)
FAULTY(GatedMatmulArgs, gated_matmul_silu_for_every_activation, gated_matmul, kSiluAlways)
FAULTY(QkvMatmulArgs, qkv_matmul_sound, qkv_matmul, kNone)
FAULTY(QkvMatmulArgs, qkv_matmul_forgets_the_norm, qkv_matmul, kNoNorm)
FAULTY(QkvMatmulArgs, qkv_matmul_leaves_v, qkv_matmul, kLeavesV)
FAULTY(QkvMatmulArgs, qkv_matmul_always_in_pairs, qkv_matmul, kPairsAlways)
FAULTY(QkvMatmulArgs, qkv_matmul_turns_v, qkv_matmul, kTurnsV)
FAULTY(QkvMatmulArgs, qkv_matmul_turns_what_is_behind_the_table, qkv_matmul, kRotatesBehindTable)
FAULTY(QkvMatmulArgs, qkv_matmul_reads_one_head_of_k, qkv_matmul, kOneHeadForK)
FAULTY(QkvMatmulArgs, qkv_matmul_ignores_the_sequence, qkv_matmul, kNoSequence)
FAULTY(QkvMatmulArgs, qkv_matmul_puts_k_and_v_over_q, qkv_matmul, kNoOffset)
FAULTY(QkvStoreArgs, qkv_store_sound, qkv_store, kNone)
FAULTY(QkvStoreArgs, qkv_store_forgets_the_norms, qkv_store, kNoNorm)
FAULTY(QkvStoreArgs, qkv_store_forgets_eps, qkv_store, kNoEps)
FAULTY(QkvStoreArgs, qkv_store_forgets_the_weights_of_the_norms, qkv_store, kNoNormWeight)
FAULTY(QkvStoreArgs, qkv_store_normalises_v, qkv_store, kNormsV)
FAULTY(QkvStoreArgs, qkv_store_normalises_k_as_q, qkv_store, kNormOfQForK)
FAULTY(QkvStoreArgs, qkv_store_normalises_behind_the_rotation, qkv_store, kNormBehindRotation)
FAULTY(QkvStoreArgs, qkv_store_leaves_v, qkv_store, kLeavesV)
FAULTY(QkvStoreArgs, qkv_store_always_in_pairs, qkv_store, kPairsAlways)
FAULTY(QkvStoreArgs, qkv_store_turns_v, qkv_store, kTurnsV)
FAULTY(QkvStoreArgs, qkv_store_turns_what_is_behind_the_table, qkv_store, kRotatesBehindTable)
FAULTY(QkvStoreArgs, qkv_store_reads_one_head_of_k, qkv_store, kOneHeadForK)
FAULTY(QkvStoreArgs, qkv_store_ignores_the_sequence, qkv_store, kNoSequence)
FAULTY(QkvStoreArgs, qkv_store_keeps_q_in_x, qkv_store, kKeepsQInX)
FAULTY(RmsNormAddArgs, rms_norm_add_sound, rms_norm_add, kNone)
FAULTY(RmsNormAddArgs, rms_norm_add_forgets_eps, rms_norm_add, kNoEps)
FAULTY(RmsNormAddArgs, rms_norm_add_forgets_the_weights, rms_norm_add, kNoNormWeight)
FAULTY(RmsNormAddArgs, rms_norm_add_forgets_the_residual, rms_norm_add, kNoResidual)
FAULTY(RmsNormAddArgs, rms_norm_add_adds_before_the_norm, rms_norm_add, kAddsBeforeNorm)
FAULTY(TopKArgs, top_k_sound, top_k, kNone)
FAULTY(TopKArgs, top_k_takes_the_first, top_k, kUnsorted)
FAULTY(TopKArgs, top_k_takes_the_higher_of_equal_ids, top_k, kHigherIdFirst)
FAULTY(TopKArgs, top_k_takes_minus_infinity, top_k, kTakesMinusInfinity)
FAULTY(TopKArgs, top_k_ignores_nan, top_k, kIgnoresNan)
FAULTY(TopKArgs, top_k_writes_columns_for_ids, top_k, kColumnForId)
FAULTY(TopKArgs, top_k_looks_at_one_slice, top_k, kOneSlice)
FAULTY(TopKArgs, top_k_leaves_the_rest, top_k, kLeavesTheRest)

}  // namespace olx::kernels::broken
