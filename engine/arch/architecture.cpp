#include "engine/arch/architecture.h"

namespace olx::engine {

#define OLX_ARCH(name, function) const Architecture& function();
#include "engine/arch/archs.inc"
#undef OLX_ARCH

namespace {

constexpr ArchitectureRow kArchitectures[] = {
#define OLX_ARCH(name, function) {name, &function},
#include "engine/arch/archs.inc"
#undef OLX_ARCH
};

// Ranges are wide enough for any network that could run here and small enough that no product of two overflows.
// tiny: the smallest model that still has tails, grouped heads and whole blocks of 32.
constexpr KeySpec kCommonKeys[] = {
    {.name = "block_count", .integer = &ModelConfig::n_layers, .min = 1, .max = 1024,
     .is_required = true, .tiny = 3},
    {.name = "context_length", .integer = &ModelConfig::n_ctx_train, .min = 1, .max = 1 << 24,
     .is_required = true, .tiny = 512},
    {.name = "embedding_length", .integer = &ModelConfig::d_model, .min = 1, .max = 1 << 18,
     .is_required = true, .tiny = 64},
    {.name = "feed_forward_length", .integer = &ModelConfig::d_ff, .min = 1, .max = 1 << 20,
     .is_required = true, .tiny = 96},
    {.name = "attention.head_count", .integer = &ModelConfig::n_heads, .min = 1, .max = 4096,
     .is_required = true, .tiny = 4},
    {.name = "attention.head_count_kv", .integer = &ModelConfig::n_kv_heads, .min = 1, .max = 4096,
     .tiny = 2},
    {.name = "attention.key_length", .integer = &ModelConfig::head_dim, .min = 2, .max = 4096,
     .tiny = 32},
    {.name = "attention.layer_norm_rms_epsilon", .real = &ModelConfig::norm_eps, .min = 0,
     .max = 1, .is_required = true, .tiny = 1e-5},
};

}  // namespace

std::span<const ArchitectureRow> architectures() { return kArchitectures; }

const Architecture* find_architecture(std::string_view name) {
  for (const ArchitectureRow& row : kArchitectures) {
    if (name == row.name) return &row.get();
  }
  return nullptr;
}

std::span<const KeySpec> common_keys() { return kCommonKeys; }

int64_t dim_size(Dim dim, const ModelConfig& config) {
  switch (dim) {
    case Dim::kNone: return 1;
    case Dim::kVocab: return config.vocab_size;
    case Dim::kModel: return config.d_model;
    case Dim::kFf: return config.d_ff;
    case Dim::kQuery: return config.n_heads * config.head_dim;
    case Dim::kKeyValue: return config.n_kv_heads * config.head_dim;
    case Dim::kHead: return config.head_dim;
    case Dim::kRotHalf: return config.rope.n_rot / 2;
  }
  return 0;
}

}  // namespace olx::engine
