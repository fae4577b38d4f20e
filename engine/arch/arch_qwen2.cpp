// Qwen 2 and 2.5 (arXiv:2407.10671): Llama with biases on q, k and v, and half-split rotation.

#include "engine/arch/architecture.h"
#include "engine/graph/graph_builder.h"

namespace olx::engine {
namespace {

constexpr WeightSpec kWeights[] = {
    {.name = "token_embd.weight", .is_per_layer = false, .rows = Dim::kVocab},
    {.name = "output.weight", .is_per_layer = false, .rows = Dim::kVocab,
     .alternate = "token_embd.weight"},
    {.name = "output_norm.weight", .is_per_layer = false},
    {.name = "attn_norm.weight"},
    {.name = "attn_q.weight", .rows = Dim::kQuery},
    {.name = "attn_k.weight", .rows = Dim::kKeyValue},
    {.name = "attn_v.weight", .rows = Dim::kKeyValue},
    {.name = "attn_q.bias", .cols = Dim::kQuery, .is_required = false},
    {.name = "attn_k.bias", .cols = Dim::kKeyValue, .is_required = false},
    {.name = "attn_v.bias", .cols = Dim::kKeyValue, .is_required = false},
    {.name = "attn_output.weight", .rows = Dim::kModel, .cols = Dim::kQuery},
    {.name = "ffn_norm.weight"},
    {.name = "ffn_gate.weight", .rows = Dim::kFf},
    {.name = "ffn_up.weight", .rows = Dim::kFf},
    {.name = "ffn_down.weight", .rows = Dim::kModel, .cols = Dim::kFf},
};

class Qwen2 final : public Architecture {
 public:
  std::span<const WeightSpec> weights() const override { return kWeights; }

  void finish_config(const KeyReader&, ModelConfig& config) const override {
    config.rope.is_neox = true;
  }

  void build(const ModelConfig& config, GraphBuilder& b) const override {
    Tensor x = b.embed("token_embd.weight");
    const Tensor angles = b.rope_table(config.rope);
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
      x = b.matmul(h, "attn_output.weight", {.residual = x});

      h = b.rms_norm(x, "ffn_norm.weight");
      const Tensor gate = b.matmul(h, "ffn_gate.weight");
      x = b.matmul(b.gated(gate, b.matmul(h, "ffn_up.weight")), "ffn_down.weight", {.residual = x});
    }
    b.set_logits(b.logits_matmul(b.rms_norm(x, "output_norm.weight"), "output.weight"));
  }
};

}  // namespace

const Architecture& arch_qwen2() {
  static const Qwen2 architecture;
  return architecture;
}

}  // namespace olx::engine
