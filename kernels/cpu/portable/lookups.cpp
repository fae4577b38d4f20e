// The row operations that gain nothing from vectors: table look-ups, angles, and what is encoded or decoded by gguf/.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

#include "gguf/quantize.h"
#include "kernels/api/args.h"

namespace olx::kernels::cpu {

void embed_portable(const EmbedArgs& args, RowRange range) {
  const WeightView& table = args.table;
  const int64_t n_cols = table.n_cols, row_bytes = gguf::row_size_bytes(table.dtype, n_cols);
  // Only a packed table needs scratch: a few kilobytes, kept by the thread from step to step.
  thread_local std::vector<std::byte> scratch;
  if (table.layout != nullptr && static_cast<int64_t>(scratch.size()) < row_bytes) scratch.resize(static_cast<size_t>(row_bytes));
  for (int64_t token = range.from; token < range.to; ++token) {
    const void* row = static_cast<const std::byte*>(table.data) + args.ids[token] * row_bytes;
    if (table.layout != nullptr) {
      table.layout->unpack_row(table.dtype, table.n_rows, n_cols, table.data, args.ids[token], scratch.data());
      row = scratch.data();
    }
    float* y = args.y.row(token);
    gguf::dequantize_row(table.dtype, row, y, n_cols);
    if (args.scale != 1.0f)
      for (int64_t i = 0; i < n_cols; ++i) y[i] *= args.scale;
  }
}

namespace {

// The rotation in which a dimension pair turns n times over the training context (YaRN, section 3.2).
double yarn_pair(const RopeConfig& config, double n_turns) {
  constexpr double kTwoPi = 6.283185307179586476925;
  return static_cast<double>(config.n_rot) * std::log(static_cast<double>(config.n_ctx_orig) / (n_turns * kTwoPi)) /
         (2 * std::log(config.freq_base));
}

}  // namespace

void rope_table_portable(const RopeTableArgs& args, RowRange range) {
  const RopeConfig& config = args.config;
  const int64_t n_pairs = config.n_rot / 2;
  double low = 0, high = 0, magnitude = config.attn_factor;
  if (config.ext_factor != 0) {
    low = std::max(0.0, std::floor(yarn_pair(config, config.beta_fast)));
    high = std::min(static_cast<double>(config.n_rot - 1), std::ceil(yarn_pair(config, config.beta_slow)));
    magnitude *= 1 + 0.1 * std::log(1 / config.freq_scale);
  }
  for (int64_t i = 0; i < n_pairs; ++i) {
    double frequency = std::pow(config.freq_base, -2.0 * static_cast<double>(i) / static_cast<double>(config.n_rot));
    if (config.freq_factors != nullptr) frequency /= static_cast<double>(config.freq_factors[i]);
    double scaled = frequency * config.freq_scale;
    if (config.ext_factor != 0) {
      const double ramp = (static_cast<double>(i) - low) / std::max(0.001, high - low);
      const double mix = (1 - std::min(1.0, std::max(0.0, ramp))) * config.ext_factor;
      scaled = scaled * (1 - mix) + frequency * mix;
    }
    for (int64_t token = range.from; token < range.to; ++token) {
      const double angle = scaled * args.tokens[token].position;
      args.table.row(token)[2 * i] = static_cast<float>(std::cos(angle) * magnitude);
      args.table.row(token)[2 * i + 1] = static_cast<float>(std::sin(angle) * magnitude);
    }
  }
}

void kv_store_q8_0_portable(const KvStoreArgs& args, RowRange range) {
  const KvView& kv = args.kv;
  const int64_t row_bytes = gguf::row_size_bytes(DType::kQ8_0, kv.head_dim);
  for (int64_t token = range.from; token < range.to; ++token) {
    const TokenSlot slot = args.tokens[token];
    const int64_t page = kv.block_table[slot.sequence * kv.max_blocks + slot.position / kv.page_tokens];
    for (int64_t head = 0; head < kv.n_kv_heads; ++head) {
      const int64_t row = (page * kv.n_kv_heads + head) * kv.page_tokens + slot.position % kv.page_tokens;
      gguf::quantize_row(DType::kQ8_0, args.k.row(token) + head * kv.head_dim, static_cast<std::byte*>(kv.k) + row * row_bytes, kv.head_dim);
      gguf::quantize_row(DType::kQ8_0, args.v.row(token) + head * kv.head_dim, static_cast<std::byte*>(kv.v) + row * row_bytes, kv.head_dim);
    }
  }
}

void gated_activation_libm(const GatedActivationArgs& args, RowRange range) {
  for (int64_t token = range.from; token < range.to; ++token)
    for (int64_t i = 0; i < args.y.n_cols; ++i) {
      const double g = args.gate.row(token)[i];
      double a = 0;
      switch (args.activation) {
        case Activation::kSilu: a = g / (1 + std::exp(-g)); break;
        case Activation::kGeluTanh: a = g / (1 + std::exp(-1.5957691216057308 * (g + 0.044715 * g * g * g))); break;
        case Activation::kGeluErf: a = 0.5 * g * std::erfc(-g * 0.70710678118654752440); break;
        case Activation::kRelu: a = g > 0 ? g : 0; break;
      }
      args.y.row(token)[i] = static_cast<float>(a * args.up.row(token)[i]);
    }
}

}  // namespace olx::kernels::cpu
