// Granite 3 (IBM 2024, https://huggingface.co/ibm-granite): Llama with four fixed multipliers: of the embedding, of
// attention scores, of what each block adds, and (as a divisor) of the logits.

#include "engine/arch/architecture.h"
#include "engine/graph/graph_builder.h"
#include "engine/model/key_reader.h"

namespace olx::engine {
namespace {

constexpr KeySpec kKeys[] = {
    {.name = "embedding_scale", .real = &ModelConfig::embed_scale, .min = 0, .max = 1e4, .tiny = 12},
    {.name = "residual_scale", .real = &ModelConfig::residual_scale, .min = 0, .max = 1e4, .tiny = 0.22},
    {.name = "attention.scale", .real = &ModelConfig::attention_scale, .min = 0, .max = 1e4, .tiny = 0.1},
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
    {.name = "ffn_norm.weight"},
    {.name = "ffn_gate.weight", .rows = Dim::kFf},
    {.name = "ffn_up.weight", .rows = Dim::kFf},
    {.name = "ffn_down.weight", .rows = Dim::kModel, .cols = Dim::kFf},
};

class Granite final : public Architecture {
 public:
  std::span<const KeySpec> keys() const override { return kKeys; }
  std::span<const WeightSpec> weights() const override { return kWeights; }

  void finish_config(const KeyReader& keys, ModelConfig& config) const override {
    config.rope.is_neox = false;
    const double divisor = keys.real("logit_scale", 1e-4, 1e4).value_or(1.0);
    config.logit_scale = static_cast<float>(1.0 / divisor);
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
      h = b.matmul(b.attention(q), "attn_output.weight");
      x = b.add(x, b.scale(h, config.residual_scale));

      h = b.rms_norm(x, "ffn_norm.weight");
      const Tensor gate = b.matmul(h, "ffn_gate.weight");
      h = b.matmul(b.gated(gate, b.matmul(h, "ffn_up.weight")), "ffn_down.weight");
      x = b.add(x, b.scale(h, config.residual_scale));
    }
    x = b.logits_matmul(b.rms_norm(x, "output_norm.weight"), "output.weight");
    b.set_logits(b.scale(x, config.logit_scale));
  }
};

}  // namespace

const Architecture& arch_granite() {
  static const Granite architecture;
  return architecture;
}

}  // namespace olx::engine
