// Gemma 2 (arXiv:2408.00118): Gemma with norms after attention and feed-forward too, soft-capped logits, and a sliding
// window in every other layer, starting with the first.

#include <cmath>

#include "engine/arch/architecture.h"
#include "engine/graph/graph_builder.h"

namespace olx::engine {
namespace {

constexpr KeySpec kKeys[] = {
    {.name = "attention.sliding_window", .integer = &ModelConfig::sliding_window, .min = 1,
     .max = 1 << 24, .tiny = 8},
    {.name = "attn_logit_softcapping", .real = &ModelConfig::attention_softcap, .min = 0, .max = 1e6,
     .tiny = 50},
    {.name = "final_logit_softcapping", .real = &ModelConfig::logit_softcap, .min = 0, .max = 1e6,
     .tiny = 30},
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
    {.name = "attn_output.weight", .rows = Dim::kModel, .cols = Dim::kQuery},
    {.name = "post_attention_norm.weight"},
    {.name = "ffn_norm.weight"},
    {.name = "ffn_gate.weight", .rows = Dim::kFf},
    {.name = "ffn_up.weight", .rows = Dim::kFf},
    {.name = "ffn_down.weight", .rows = Dim::kModel, .cols = Dim::kFf},
    {.name = "post_ffw_norm.weight"},
};

// The released 27B divides q by sqrt(d_model / n_heads); every other size by sqrt(head_dim). The file does not say
// which, so the number of layers does (google/gemma_pytorch, gemma/config.py: query_pre_attn_scalar).
constexpr int64_t kLayersOf27B = 46;

class Gemma2 final : public Architecture {
 public:
  std::span<const KeySpec> keys() const override { return kKeys; }
  std::span<const WeightSpec> weights() const override { return kWeights; }

  // Files from before these keys existed were made from the released models.
  void set_defaults(ModelConfig& config) const override {
    config.sliding_window = 4096;
    config.attention_softcap = 50.0f;
    config.logit_softcap = 30.0f;
  }

  void finish_config(const KeyReader&, ModelConfig& config) const override {
    config.rope.is_neox = true;
    config.rope_local.is_neox = true;
    config.activation = kernels::Activation::kGeluTanh;
    config.embed_scale = std::sqrt(static_cast<float>(config.d_model));
    config.local_period = 2;
    if (config.n_layers == kLayersOf27B) {
      const int64_t scaled_dim = config.d_model / config.n_heads;
      config.attention_scale = 1.0f / std::sqrt(static_cast<float>(scaled_dim));
    }
  }

  void build(const ModelConfig& config, GraphBuilder& b) const override {
    Tensor x = b.embed("token_embd.weight", config.embed_scale);
    const Tensor angles = b.rope_table(config.rope);
    for (int64_t layer = 0; layer < config.n_layers; ++layer) {
      b.begin_layer(layer);
      Tensor h = b.rms_norm(x, "attn_norm.weight");
      Tensor q = b.matmul(h, "attn_q.weight");
      Tensor k = b.matmul(h, "attn_k.weight");
      const Tensor v = b.matmul(h, "attn_v.weight");
      q = b.rope(q, angles, config.rope);
      k = b.rope(k, angles, config.rope);
      b.kv_store(k, v);
      b.drop_unneeded_rows(q, x);
      h = b.attention(q, config.is_local(layer) ? config.sliding_window : 0);
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

const Architecture& arch_gemma2() {
  static const Gemma2 architecture;
  return architecture;
}

}  // namespace olx::engine
