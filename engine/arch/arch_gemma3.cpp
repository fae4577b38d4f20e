// Gemma 3, text part (arXiv:2503.19786): Gemma 2 without soft-caps, with q and k norms, five sliding-window layers
// before each global one, and a rotation base of its own for each kind.

#include <cmath>

#include "engine/arch/architecture.h"
#include "engine/graph/graph_builder.h"
#include "engine/model/key_reader.h"

namespace olx::engine {
namespace {

constexpr KeySpec kKeys[] = {
    {.name = "block_count", .integer = &ModelConfig::n_layers, .min = 1, .max = 1024,
     .is_required = true, .tiny = 7},
    {.name = "attention.sliding_window", .integer = &ModelConfig::sliding_window, .min = 1,
     .max = 1 << 24, .tiny = 8},
    // Files made by Ollama's own converter lack these two.
    {.name = "attention.layer_norm_rms_epsilon", .real = &ModelConfig::norm_eps, .min = 0, .max = 1,
     .tiny = 1e-6},
    {.name = "attention.key_length", .integer = &ModelConfig::head_dim, .min = 2, .max = 4096,
     .tiny = 32},
    {.name = "final_logit_softcapping", .real = &ModelConfig::logit_softcap, .min = 0, .max = 1e6},
};

constexpr WeightSpec kWeights[] = {
    {.name = "token_embd.weight", .is_per_layer = false, .rows = Dim::kVocab},
    {.name = "output.weight", .is_per_layer = false, .rows = Dim::kVocab,
     .alternate = "token_embd.weight"},
    {.name = "output_norm.weight", .is_per_layer = false},
    {.name = "attn_norm.weight"},
    {.name = "attn_q.weight", .rows = Dim::kQuery},
    {.name = "attn_k.weight", .rows = Dim::kKeyValue},
    {.name = "attn_v.weight", .rows = Dim::kKeyValue},
    {.name = "attn_q_norm.weight", .cols = Dim::kHead},
    {.name = "attn_k_norm.weight", .cols = Dim::kHead},
    {.name = "attn_output.weight", .rows = Dim::kModel, .cols = Dim::kQuery},
    {.name = "post_attention_norm.weight"},
    {.name = "ffn_norm.weight"},
    {.name = "ffn_gate.weight", .rows = Dim::kFf},
    {.name = "ffn_up.weight", .rows = Dim::kFf},
    {.name = "ffn_down.weight", .rows = Dim::kModel, .cols = Dim::kFf},
    {.name = "post_ffw_norm.weight"},
};

// As in Gemma 2, the released 27B alone divides q by sqrt(d_model / n_heads), and its number of layers tells it.
constexpr int64_t kLayersOf27B = 62;

class Gemma3 final : public Architecture {
 public:
  void set_defaults(ModelConfig& config) const override {
    config.norm_eps = 1e-6f;
    config.head_dim = 256;
  }
  std::span<const KeySpec> keys() const override { return kKeys; }
  std::span<const WeightSpec> weights() const override { return kWeights; }

  void finish_config(const KeyReader& keys, ModelConfig& config) const override {
    config.rope.is_neox = true;
    // Ollama's converter wrote rope.global and rope.local, some versions neither.
    if (!keys.real("rope.freq_base", 1, 1e12)) {
      config.rope.freq_base = keys.real("rope.global.freq_base", 1, 1e12).value_or(1e6);
    }
    // ... nor the position interpolation by 8 that all models with this context length were trained with.
    if (!keys.text("rope.scaling.type") && config.n_ctx_train >= 131072) {
      config.rope.freq_scale = 1.0 / keys.real("rope.scaling.factor", 1, 1e3).value_or(8.0);
    }
    // Local layers: their own base, and none of the scaling that the larger models apply to global ones.
    config.rope_local = {.n_rot = config.rope.n_rot, .is_neox = true};
    const auto local_base = keys.real("rope.freq_base_swa", 1, 1e12);
    config.rope_local.freq_base =
        local_base ? *local_base : keys.real("rope.local.freq_base", 1, 1e12).value_or(10000.0);
    config.activation = kernels::Activation::kGeluTanh;
    config.embed_scale = std::sqrt(static_cast<float>(config.d_model));
    if (config.sliding_window > 0) config.local_period = 6;
    if (config.n_layers == kLayersOf27B) {
      const int64_t scaled_dim = config.d_model / config.n_heads;
      config.attention_scale = 1.0f / std::sqrt(static_cast<float>(scaled_dim));
    }
  }

  void build(const ModelConfig& config, GraphBuilder& b) const override {
    Tensor x = b.embed("token_embd.weight", config.embed_scale);
    const Tensor global_angles = b.rope_table(config.rope);
    const Tensor local_angles = b.rope_table(config.rope_local);
    for (int64_t layer = 0; layer < config.n_layers; ++layer) {
      b.begin_layer(layer);
      const bool is_local = config.is_local(layer);
      const Tensor angles = is_local ? local_angles : global_angles;
      const kernels::RopeConfig& rope = is_local ? config.rope_local : config.rope;
      Tensor h = b.rms_norm(x, "attn_norm.weight");
      Tensor q = b.matmul(h, "attn_q.weight");
      Tensor k = b.matmul(h, "attn_k.weight");
      const Tensor v = b.matmul(h, "attn_v.weight");
      q = b.rope(b.head_norm(q, "attn_q_norm.weight"), angles, rope);
      k = b.rope(b.head_norm(k, "attn_k_norm.weight"), angles, rope);
      b.kv_store(k, v);
      b.drop_unneeded_rows(q, x);
      h = b.attention(q, is_local ? config.sliding_window : 0);
      h = b.matmul(h, "attn_output.weight");
      x = b.add(x, b.rms_norm(h, "post_attention_norm.weight"));

      h = b.rms_norm(x, "ffn_norm.weight");
      const Tensor gate = b.matmul(h, "ffn_gate.weight");
      h = b.matmul(b.gated(gate, b.matmul(h, "ffn_up.weight")), "ffn_down.weight");
      x = b.add(x, b.rms_norm(h, "post_ffw_norm.weight"));
    }
    x = b.logits_matmul(b.rms_norm(x, "output_norm.weight"), "output.weight");
    b.set_logits(config.logit_softcap > 0 ? b.softcap(x, config.logit_softcap) : x);
  }
};

}  // namespace

const Architecture& arch_gemma3() {
  static const Gemma3 architecture;
  return architecture;
}

}  // namespace olx::engine
