// Llama 1-3 (Touvron et al. 2023, arXiv:2302.13971), and what uses its graph: Mistral, CodeLlama, TinyLlama, SmolLM2.

#include "engine/arch/architecture.h"
#include "engine/graph/graph_builder.h"

namespace olx::engine {
namespace {

constexpr KeySpec kKeys[] = {
    {.name = "attention.scale", .real = &ModelConfig::attention_scale, .min = 0, .max = 1e3},
};

constexpr WeightSpec kWeights[] = {
    {.name = "token_embd.weight", .is_per_layer = false, .rows = Dim::kVocab},
    {.name = "output.weight", .is_per_layer = false, .rows = Dim::kVocab,
     .alternate = "token_embd.weight"},
    {.name = "output_norm.weight", .is_per_layer = false},
    // Llama 3.1 and later: divides the rotation frequencies, for long contexts.
    {.name = "rope_freqs.weight", .is_per_layer = false, .cols = Dim::kRotHalf, .is_required = false},
    {.name = "attn_norm.weight"},
    {.name = "attn_q.weight", .rows = Dim::kQuery},
    {.name = "attn_k.weight", .rows = Dim::kKeyValue},
    {.name = "attn_v.weight", .rows = Dim::kKeyValue},
    {.name = "attn_output.weight", .rows = Dim::kModel, .cols = Dim::kQuery},
    {.name = "attn_q.bias", .cols = Dim::kQuery, .is_required = false},
    {.name = "attn_k.bias", .cols = Dim::kKeyValue, .is_required = false},
    {.name = "attn_v.bias", .cols = Dim::kKeyValue, .is_required = false},
    {.name = "attn_output.bias", .is_required = false},
    {.name = "ffn_norm.weight"},
    {.name = "ffn_gate.weight", .rows = Dim::kFf},
    {.name = "ffn_up.weight", .rows = Dim::kFf},
    {.name = "ffn_down.weight", .rows = Dim::kModel, .cols = Dim::kFf},
    {.name = "ffn_gate.bias", .cols = Dim::kFf, .is_required = false},
    {.name = "ffn_up.bias", .cols = Dim::kFf, .is_required = false},
    {.name = "ffn_down.bias", .is_required = false},
};

class Llama final : public Architecture {
 public:
  std::span<const KeySpec> keys() const override { return kKeys; }
  std::span<const WeightSpec> weights() const override { return kWeights; }

  void finish_config(const KeyReader&, ModelConfig& config) const override {
    // Converters permute q and k of this family so that pairs are neighbours.
    config.rope.is_neox = false;
  }

  void build(const ModelConfig& config, GraphBuilder& b) const override {
    Tensor x = b.embed("token_embd.weight");
    const Tensor angles = b.rope_table(config.rope, "rope_freqs.weight");
    for (int64_t layer = 0; layer < config.n_layers; ++layer) {
      b.begin_layer(layer);
      Tensor h = b.rms_norm(x, "attn_norm.weight");
      Tensor q = b.matmul(h, "attn_q.weight", {.bias = "attn_q.bias"});
      Tensor k = b.matmul(h, "attn_k.weight", {.bias = "attn_k.bias"});
      const Tensor v = b.matmul(h, "attn_v.weight", {.bias = "attn_v.bias"});
      q = b.rope(q, angles, config.rope);
      k = b.rope(k, angles, config.rope);
      b.kv_store(k, v);
      b.drop_unneeded_rows(q, x);
      h = b.attention(q);
      x = b.matmul(h, "attn_output.weight", {.bias = "attn_output.bias", .residual = x});

      h = b.rms_norm(x, "ffn_norm.weight");
      const Tensor gate = b.matmul(h, "ffn_gate.weight", {.bias = "ffn_gate.bias"});
      const Tensor up = b.matmul(h, "ffn_up.weight", {.bias = "ffn_up.bias"});
      x = b.matmul(b.gated(gate, up), "ffn_down.weight", {.bias = "ffn_down.bias", .residual = x});
    }
    b.set_logits(b.logits_matmul(b.rms_norm(x, "output_norm.weight"), "output.weight"));
  }
};

}  // namespace

const Architecture& arch_llama() {
  static const Llama architecture;
  return architecture;
}

}  // namespace olx::engine
