// Plain f32 kernels with a fault chosen by template argument; Fault::kNone is the sound one. Rows and tests are in
// broken_kernels.inc, sound_kernels.inc and broken_test.cpp.

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <vector>

#include "gguf/blocks.h"
#include "gguf/quantize.h"
#include "kernels/api/args.h"
#include "kernels/reference/kv.h"
#include "tests/kernels/broken_formats.h"

namespace olx::kernels::broken {
namespace {

enum class Fault {
  kNone, kSkipsLastColumn, kNoBias, kNoResidual, kLeavesLastToken, kWritesPastRow, kNoStride, kRangeDependent,
  kF16Input, kF16Accumulator, kChangesInput, kMinimumSign, kNibbleOrder, kUnsignedCodes, kSaturates, kNoScale,
  kNoGroups, kSumForMean, kNoEps, kApproximate, kSinglePrecision, kNoFactors, kNoYarn, kPairsAlways, kBackwards,
  kClearsRest, kTruncates, kNoSequence, kNoWindow, kWindowOffByOne, kFuture, kNoSoftcap, kNoSinks, kCyclicHeads,
  kNoBlockTable, kSiluAlways, kOverflows, kNoTail, kNoRepeatedRow, kClamps, kNoMaximum, kNanForNothing,
  kOneInAMillion,
};

// One element of a large result is off by a hundredth, which no mean shows: nowhere near an edge,
// and always the same one.
template <Fault fault>
float with_wrong_one(const MatrixView& y, int64_t token, int64_t col, float value) {
  const bool is_wrong = fault == Fault::kOneInAMillion && y.n_rows * y.n_cols >= 1'000'000 &&
                        token == y.n_rows * 3 / 7 && col == y.n_cols * 5 / 8 + 3;
  return is_wrong ? value + 0.01f : value;
}

float as_f16(float x) { return gguf::f16_to_f32(gguf::f32_to_f16(x)); }

// ---- matmul -------------------------------------------------------------------------------------------------------

template <Fault fault>
void matmul(const MatmulArgs& args, RowRange range) {
  const int64_t n_cols = args.w.n_cols, n_tokens = args.y.n_rows;
  const auto* x = static_cast<const float*>(args.x.data);
  const int64_t stride = fault == Fault::kNoStride ? n_cols : args.x.row_stride_elems;
  for (int64_t token = 0; token < n_tokens - (fault == Fault::kLeavesLastToken ? 1 : 0); ++token) {
    for (int64_t row = range.from; row < range.to; ++row) {
      const float* w = static_cast<const float*>(args.w.data) + row * n_cols;
      float sum = 0;
      for (int64_t col = 0; col < n_cols - (fault == Fault::kSkipsLastColumn ? 1 : 0); ++col) {
        const float value = x[token * stride + col];
        sum += (fault == Fault::kF16Input ? as_f16(value) : value) * w[col];
        if (fault == Fault::kF16Accumulator) sum = as_f16(sum);
      }
      if (args.bias != nullptr && fault != Fault::kNoBias) sum += args.bias[row];
      if (args.residual != nullptr && fault != Fault::kNoResidual)
        sum += args.residual[token * args.y.row_stride_elems + row];
      if (fault == Fault::kRangeDependent && row == range.from) sum = std::nextafter(sum, 1e9f);
      args.y.row(token)[row] = with_wrong_one<fault>(args.y, token, row, sum);
    }
    if (fault == Fault::kWritesPastRow && range.to == args.w.n_rows) args.y.row(token)[range.to] = 0;
    if (fault == Fault::kChangesInput) const_cast<float*>(x)[token * stride] = 0;
  }
}

// Products of quantized blocks of 32 with f32 activations; `decode` gives a block's elements.
template <typename Block, typename Decode>
void matmul_blocks(const MatmulArgs& args, RowRange range, Decode&& decode) {
  const int64_t n_blocks = args.w.n_cols / 32;
  for (int64_t row = range.from; row < range.to; ++row) {
    const auto* blocks = static_cast<const Block*>(args.w.data) + row * n_blocks;
    for (int64_t token = 0; token < args.y.n_rows; ++token) {
      const float* x = static_cast<const float*>(args.x.data) + token * args.x.row_stride_elems;
      float sum = 0;
      for (int64_t block = 0; block < n_blocks; ++block)
        for (int i = 0; i < 32; ++i) sum += decode(blocks[block], i) * x[block * 32 + i];
      if (args.bias != nullptr) sum += args.bias[row];
      if (args.residual != nullptr) sum += args.residual[token * args.y.row_stride_elems + row];
      args.y.row(token)[row] = sum;
    }
  }
}

template <Fault fault>
void matmul_q4_1(const MatmulArgs& args, RowRange range) {
  matmul_blocks<gguf::BlockQ4_1>(args, range, [](const gguf::BlockQ4_1& block, int i) {
    const bool is_high = fault == Fault::kNibbleOrder ? (i & 1) != 0 : i >= 16;
    const int byte = block.qs[fault == Fault::kNibbleOrder ? i / 2 : i % 16];
    const float m = gguf::f16_to_f32(block.m);
    const auto code = static_cast<float>(is_high ? byte >> 4 : byte & 15);
    return gguf::f16_to_f32(block.d) * code + (fault == Fault::kMinimumSign ? -m : m);
  });
}

template <Fault fault>
void matmul_q8_0(const MatmulArgs& args, RowRange range) {
  matmul_blocks<gguf::BlockQ8_0>(args, range, [](const gguf::BlockQ8_0& block, int i) {
    int code = block.qs[i];
    if (fault == Fault::kUnsignedCodes) code &= 0xFF;
    // As vpmaddubsw does: two neighbours times 255 are clamped to 16 bits.
    if (fault == Fault::kSaturates && (block.qs[i] + block.qs[i ^ 1]) * 255 > INT16_MAX) code -= 1;
    if (fault == Fault::kSaturates && (block.qs[i] + block.qs[i ^ 1]) * 255 < INT16_MIN) code += 1;
    return gguf::f16_to_f32(block.d) * static_cast<float>(code);
  });
}

// ---- rows ---------------------------------------------------------------------------------------------------------

template <Fault fault>
void embed(const EmbedArgs& args, RowRange range) {
  for (int64_t token = range.from; token < range.to; ++token)
    for (int64_t col = 0; col < args.y.n_cols; ++col)
      args.y.row(token)[col] =
          static_cast<const float*>(args.table.data)[args.ids[token] * args.table.n_cols + col] *
          (fault == Fault::kNoScale ? 1.0f : args.scale);
}

template <Fault fault>
void rms_norm(const RmsNormArgs& args, RowRange range) {
  const int64_t group_cols = args.group_cols;
  const int64_t mean_cols = fault == Fault::kNoGroups ? args.x.n_cols : group_cols;
  for (int64_t token = range.from; token < range.to; ++token) {
    for (int64_t from = 0; from < args.x.n_cols; from += mean_cols) {
      const float* x = args.x.row(token) + from;
      float sum = 0;
      for (int64_t i = 0; i < mean_cols; ++i) sum += x[i] * x[i];
      if (fault != Fault::kSumForMean) sum /= static_cast<float>(mean_cols);
      float inverse = 1 / std::sqrt(sum + (fault == Fault::kNoEps ? 1e-30f : args.eps));
      // As vrsqrtps: twelve bits, when the Newton step is forgotten.
      if (fault == Fault::kApproximate) inverse = std::bit_cast<float>(std::bit_cast<uint32_t>(inverse) & 0xFFFFF000u);
      for (int64_t i = 0; i < mean_cols; ++i)
        args.y.row(token)[from + i] = x[i] * inverse * (args.weight != nullptr ? args.weight[i % group_cols] : 1.0f);
    }
  }
}

template <Fault fault>
void rope_table(const RopeTableArgs& args, RowRange range) {
  const RopeConfig& config = args.config;
  const auto n_rot = static_cast<double>(config.n_rot);
  const auto boundary = [&](double turns) {
    return n_rot * std::log(static_cast<double>(config.n_ctx_orig) / (turns * 6.283185307179586)) /
           (2 * std::log(config.freq_base));
  };
  const bool is_yarn = config.ext_factor != 0 && fault != Fault::kNoYarn;
  const double low = is_yarn ? std::max(0.0, std::floor(boundary(config.beta_fast))) : 0;
  const double high = is_yarn ? std::min(n_rot - 1, std::ceil(boundary(config.beta_slow))) : 0;
  const double magnitude = config.attn_factor * (is_yarn ? 1 + 0.1 * std::log(1 / config.freq_scale) : 1);
  for (int64_t token = range.from; token < range.to; ++token) {
    for (int64_t pair = 0; pair < config.n_rot / 2; ++pair) {
      double angle = args.tokens[token].position * std::pow(config.freq_base, -2.0 * static_cast<double>(pair) / n_rot);
      if (config.freq_factors != nullptr && fault != Fault::kNoFactors) angle /= config.freq_factors[pair];
      double mix = 0;
      if (is_yarn)
        mix = config.ext_factor *
              (1 - std::clamp((static_cast<double>(pair) - low) / std::max(0.001, high - low), 0.0, 1.0));
      angle = config.freq_scale * angle * (1 - mix) + angle * mix;
      if (fault == Fault::kSinglePrecision) angle = static_cast<float>(angle);
      args.table.row(token)[2 * pair] = static_cast<float>(std::cos(angle) * magnitude);
      args.table.row(token)[2 * pair + 1] = static_cast<float>(std::sin(angle) * magnitude);
    }
  }
}

template <Fault fault>
void rope(const RopeArgs& args, RowRange range) {
  const int64_t n_pairs = args.table.n_cols / 2;
  const bool is_neox = args.is_neox && fault != Fault::kPairsAlways;
  for (int64_t token = range.from; token < range.to; ++token) {
    for (int64_t head = 0; head < args.n_heads; ++head) {
      float* x = args.x.row(token) + head * args.head_dim;
      for (int64_t pair = 0; pair < n_pairs; ++pair) {
        float& a = x[is_neox ? pair : 2 * pair];
        float& b = x[is_neox ? pair + n_pairs : 2 * pair + 1];
        const float cosine = args.table.row(token)[2 * pair];
        const float sine = args.table.row(token)[2 * pair + 1] * (fault == Fault::kBackwards ? -1.0f : 1.0f);
        const float turned = a * cosine - b * sine;
        b = a * sine + b * cosine;
        a = turned;
      }
      if (fault == Fault::kClearsRest) std::fill(x + 2 * n_pairs, x + args.head_dim, 0.0f);
    }
  }
}

float silu(float x) { return x / (1 + std::exp(-x)); }

float activate(Activation activation, float x) {
  switch (activation) {
    case Activation::kSilu: return silu(x);
    case Activation::kGeluTanh: return 0.5f * x * (1 + std::tanh(0.7978845608f * (x + 0.044715f * x * x * x)));
    case Activation::kGeluErf: return 0.5f * x * (1 + std::erf(x * 0.7071067812f));
    case Activation::kRelu: return std::max(x, 0.0f);
  }
  return 0;
}

template <Fault fault>
void gated(const GatedActivationArgs& args, RowRange range) {
  for (int64_t token = range.from; token < range.to; ++token) {
    for (int64_t col = 0; col < args.y.n_cols; ++col) {
      const float gate = args.gate.row(token)[col], up = args.up.row(token)[col];
      float y = fault == Fault::kSiluAlways ? silu(gate) : activate(args.activation, gate);
      if (fault == Fault::kOverflows && args.activation == Activation::kSilu)
        y = gate * std::exp(gate) / (1 + std::exp(gate));
      args.y.row(token)[col] = y * up;
    }
  }
}

template <Fault fault>
void add(const AddArgs& args, RowRange range) {
  for (int64_t token = range.from; token < range.to; ++token) {
    // The faulty one stops within the canary: the tests must survive what they refuse.
    const float* b =
        fault == Fault::kNoRepeatedRow ? args.b.data + std::min<int64_t>(token * args.b.n_cols, 8) : args.b.row(token);
    const int64_t n = fault == Fault::kNoTail ? args.y.n_cols / 8 * 8 : args.y.n_cols;
    for (int64_t col = 0; col < n; ++col)
      args.y.row(token)[col] =
          with_wrong_one<fault>(args.y, token, col, args.a.row(token)[col] + b[col]);
  }
}

template <Fault fault>
void softcap(const SoftcapArgs& args, RowRange range) {
  for (int64_t token = range.from; token < range.to; ++token)
    for (int64_t col = 0; col < args.y.n_cols; ++col) {
      const float x = args.x.row(token)[col];
      args.y.row(token)[col] =
          fault == Fault::kClamps ? std::clamp(x, -args.cap, args.cap) : args.cap * std::tanh(x / args.cap);
    }
}

template <Fault fault>
void softmax(const SoftmaxArgs& args, RowRange range) {
  const int64_t n_cols = args.x.n_cols;
  for (int64_t token = range.from; token < range.to; ++token) {
    const float* x = args.x.row(token);
    float* y = args.y.row(token);
    const float largest = fault == Fault::kNoMaximum ? 0.0f : *std::max_element(x, x + n_cols);
    if (std::isinf(largest) && fault != Fault::kNanForNothing) {
      std::fill(y, y + n_cols, 0.0f);
      continue;
    }
    float sum = 0;
    for (int64_t col = 0; col < n_cols; ++col) sum += y[col] = std::exp(x[col] - largest);
    for (int64_t col = 0; col < n_cols; ++col) y[col] /= sum;
  }
}

// ---- cache --------------------------------------------------------------------------------------------------------

using reference::kv_row;

template <Fault fault>
void kv_store(const KvStoreArgs& args, RowRange range) {
  const KvView& kv = args.kv;
  for (int64_t token = range.from; token < range.to; ++token) {
    const int64_t sequence = fault == Fault::kNoSequence ? 0 : args.tokens[token].sequence;
    for (int64_t head = 0; head < kv.n_kv_heads; ++head) {
      for (const auto& [base, from] : {std::pair{kv.k, args.k.row(token)}, std::pair{kv.v, args.v.row(token)}}) {
        auto* to = reinterpret_cast<uint16_t*>(kv_row(kv, base, sequence, args.tokens[token].position, head));
        for (int64_t d = 0; d < kv.head_dim; ++d) {
          const float x = from[head * kv.head_dim + d];
          to[d] = gguf::f32_to_f16(x);
          if (fault == Fault::kTruncates && std::abs(gguf::f16_to_f32(to[d])) > std::abs(x)) --to[d];
        }
      }
    }
  }
}

template <Fault fault>
float cached(const AttentionArgs& args, void* base, TokenSlot slot, int64_t position, int64_t kv_head, int64_t d) {
  KvView kv = args.kv;
  std::vector<int32_t> in_order;
  if (fault == Fault::kNoBlockTable) {
    for (int64_t i = 0; i < kv.max_blocks; ++i) in_order.push_back(static_cast<int32_t>(i));
    kv.block_table = in_order.data();
    slot.sequence = 0;
  }
  uint16_t half;
  std::memcpy(&half, kv_row(kv, base, slot.sequence, position, kv_head) + 2 * d, sizeof half);
  return gguf::f16_to_f32(half);
}

template <Fault fault>
void attention(const AttentionArgs& args, RowRange range) {
  const int64_t head_dim = args.kv.head_dim, group = args.n_heads / args.kv.n_kv_heads;
  const int64_t n_tokens = args.q.n_rows, n_of_head = n_tokens * args.n_splits;
  for (int64_t i = range.from * group; i < range.to * group; ++i) {
    const int64_t unit = i / group, token = unit % n_tokens,
                  head = unit / n_of_head * group + i % group;
    const bool is_last_split = unit / n_tokens % args.n_splits == args.n_splits - 1;
    if (!is_last_split) continue;
    const int64_t kv_head = fault == Fault::kCyclicHeads ? head % args.kv.n_kv_heads : head / group;
    const TokenSlot slot = args.tokens[token];
    const bool has_next = slot.position % args.kv.page_tokens != args.kv.page_tokens - 1;
    const int64_t to = slot.position + 1 + (fault == Fault::kFuture && has_next ? 1 : 0);
    int64_t window = args.sliding_window;
    if (fault == Fault::kNoWindow) window = 0;
    if (fault == Fault::kWindowOffByOne && window > 0) ++window;
    const int64_t from = window > 0 ? std::max<int64_t>(0, slot.position + 1 - window) : 0;
    const float* q = args.q.row(token) + head * head_dim;
    std::vector<float> weights;
    const bool has_sink = args.sinks != nullptr && fault != Fault::kNoSinks;
    float largest = has_sink ? args.sinks[head] : -INFINITY;
    for (int64_t p = from; p < to; ++p) {
      float score = 0;
      for (int64_t d = 0; d < head_dim; ++d) score += q[d] * cached<fault>(args, args.kv.k, slot, p, kv_head, d);
      score *= args.scale;
      if (args.softcap != 0 && fault != Fault::kNoSoftcap) score = args.softcap * std::tanh(score / args.softcap);
      weights.push_back(score);
      largest = std::max(largest, score);
    }
    float sum = has_sink ? std::exp(args.sinks[head] - largest) : 0;
    for (float& weight : weights) sum += weight = std::exp(weight - largest);
    for (int64_t d = 0; d < head_dim; ++d) {
      float y = 0;
      for (int64_t p = from; p < to; ++p) {
        y += weights[static_cast<size_t>(p - from)] * cached<fault>(args, args.kv.v, slot, p, kv_head, d);
        if (fault == Fault::kF16Accumulator) y = as_f16(y);
      }
      args.y.row(token)[head * head_dim + d] = y / sum;
    }
  }
}

}  // namespace

FAULTY(MatmulArgs, matmul_sound, matmul, kNone)
FAULTY(MatmulArgs, matmul_skips_the_last_column, matmul, kSkipsLastColumn)
FAULTY(MatmulArgs, matmul_ignores_bias, matmul, kNoBias)
FAULTY(MatmulArgs, matmul_ignores_residual, matmul, kNoResidual)
FAULTY(MatmulArgs, matmul_leaves_the_last_token, matmul, kLeavesLastToken)
FAULTY(MatmulArgs, matmul_writes_past_the_row, matmul, kWritesPastRow)
FAULTY(MatmulArgs, matmul_ignores_the_stride, matmul, kNoStride)
FAULTY(MatmulArgs, matmul_depends_on_the_range, matmul, kRangeDependent)
FAULTY(MatmulArgs, matmul_rounds_x_to_f16, matmul, kF16Input)
FAULTY(MatmulArgs, matmul_accumulates_in_f16, matmul, kF16Accumulator)
FAULTY(MatmulArgs, matmul_changes_x, matmul, kChangesInput)
FAULTY(MatmulArgs, matmul_gets_one_of_a_million_wrong, matmul, kOneInAMillion)
FAULTY(MatmulArgs, matmul_q4_1_sound, matmul_q4_1, kNone)
FAULTY(MatmulArgs, matmul_q4_1_subtracts_the_minimum, matmul_q4_1, kMinimumSign)
FAULTY(MatmulArgs, matmul_q4_1_swaps_nibbles, matmul_q4_1, kNibbleOrder)
FAULTY(MatmulArgs, matmul_q8_0_sound, matmul_q8_0, kNone)
FAULTY(MatmulArgs, matmul_q8_0_reads_unsigned_codes, matmul_q8_0, kUnsignedCodes)
FAULTY(MatmulArgs, matmul_q8_0_saturates_at_16_bits, matmul_q8_0, kSaturates)
FAULTY(EmbedArgs, embed_sound, embed, kNone)
FAULTY(EmbedArgs, embed_ignores_scale, embed, kNoScale)
FAULTY(RmsNormArgs, rms_norm_sound, rms_norm, kNone)
FAULTY(RmsNormArgs, rms_norm_ignores_groups, rms_norm, kNoGroups)
FAULTY(RmsNormArgs, rms_norm_divides_by_the_sum, rms_norm, kSumForMean)
FAULTY(RmsNormArgs, rms_norm_forgets_eps, rms_norm, kNoEps)
FAULTY(RmsNormArgs, rms_norm_uses_approximate_rsqrt, rms_norm, kApproximate)
FAULTY(RopeTableArgs, rope_table_sound, rope_table, kNone)
FAULTY(RopeTableArgs, rope_table_in_single_precision, rope_table, kSinglePrecision)
FAULTY(RopeTableArgs, rope_table_ignores_factors, rope_table, kNoFactors)
FAULTY(RopeTableArgs, rope_table_ignores_yarn, rope_table, kNoYarn)
FAULTY(RopeArgs, rope_sound, rope, kNone)
FAULTY(RopeArgs, rope_always_in_pairs, rope, kPairsAlways)
FAULTY(RopeArgs, rope_turns_backwards, rope, kBackwards)
FAULTY(RopeArgs, rope_clears_the_rest, rope, kClearsRest)
FAULTY(KvStoreArgs, kv_store_sound, kv_store, kNone)
FAULTY(KvStoreArgs, kv_store_truncates, kv_store, kTruncates)
FAULTY(KvStoreArgs, kv_store_ignores_the_sequence, kv_store, kNoSequence)
FAULTY(AttentionArgs, attention_sound, attention, kNone)
FAULTY(AttentionArgs, attention_ignores_the_window, attention, kNoWindow)
FAULTY(AttentionArgs, attention_window_off_by_one, attention, kWindowOffByOne)
FAULTY(AttentionArgs, attention_sees_the_future, attention, kFuture)
FAULTY(AttentionArgs, attention_ignores_softcap, attention, kNoSoftcap)
FAULTY(AttentionArgs, attention_drops_sinks, attention, kNoSinks)
FAULTY(AttentionArgs, attention_maps_heads_cyclically, attention, kCyclicHeads)
FAULTY(AttentionArgs, attention_ignores_the_block_table, attention, kNoBlockTable)
FAULTY(AttentionArgs, attention_accumulates_in_f16, attention, kF16Accumulator)
FAULTY(GatedActivationArgs, gated_sound, gated, kNone)
FAULTY(GatedActivationArgs, gated_silu_for_every_activation, gated, kSiluAlways)
FAULTY(GatedActivationArgs, gated_overflows_for_large_gates, gated, kOverflows)
FAULTY(AddArgs, add_sound, add, kNone)
FAULTY(AddArgs, add_stops_at_a_multiple_of_eight, add, kNoTail)
FAULTY(AddArgs, add_assumes_a_row_for_each_token, add, kNoRepeatedRow)
FAULTY(AddArgs, add_gets_one_of_a_million_wrong, add, kOneInAMillion)
FAULTY(SoftcapArgs, softcap_sound, softcap, kNone)
FAULTY(SoftcapArgs, softcap_clamps, softcap, kClamps)
FAULTY(SoftmaxArgs, softmax_sound, softmax, kNone)
FAULTY(SoftmaxArgs, softmax_without_maximum, softmax, kNoMaximum)
FAULTY(SoftmaxArgs, softmax_of_nothing_is_nan, softmax, kNanForNothing)

}  // namespace olx::kernels::broken
