#pragma once
// ModelConfig: the hyper-parameters of a network, read from GGUF metadata with type and range checks.
// Filled by engine/arch (one function per architecture); used by the graph, the cache and the engine's ModelInfo.
// It holds no weights and nothing of the tokenizer.

#include <cstdint>
#include <string>

#include "gguf/reader.h"
#include "kernels/api/args.h"

namespace olx::engine {

// Which hidden states an embedding is made of.
enum class Pooling : uint8_t { kMean, kFirst, kLast };

struct ModelConfig {
  std::string architecture;  // "llama": the row of arch/archs.inc
  std::string name;          // general.name, may be empty
  int64_t n_layers = 0;
  int64_t d_model = 0;
  int64_t n_heads = 0;
  int64_t n_kv_heads = 0;
  int64_t head_dim = 0;
  int64_t d_ff = 0;
  int64_t vocab_size = 0;
  int64_t n_ctx_train = 0;

  float norm_eps = 1e-5f;
  float embed_scale = 1.0f;
  float residual_scale = 1.0f;       // of what attention and feed-forward add
  float logit_scale = 1.0f;
  float attention_scale = 0.0f;      // 1 / sqrt(head_dim) unless the architecture says otherwise
  float attention_softcap = 0.0f;    // 0: none
  float logit_softcap = 0.0f;        // 0: none
  int64_t sliding_window = 0;        // of local layers, 0: none
  bool is_causal = true;             // a token sees only what is before it
  Pooling pooling = Pooling::kLast;  // of embeddings
  kernels::Activation activation = kernels::Activation::kSilu;
  kernels::RopeConfig rope;          // of global layers; freq_factors is set by the loader
  kernels::RopeConfig rope_local;    // of sliding-window layers, where they differ

  // Whether layer i sees only sliding_window positions: every layer but each local_period-th
  // (local_period 6: layers 0-4 local, 5 global). 0: no local layers; 1 would be all global; -1: all local.
  int64_t local_period = 0;
  bool is_local(int64_t layer) const {
    return local_period < 0 || (local_period > 0 && (layer + 1) % local_period != 0);
  }
};

// Reads and checks the metadata. Throws EngineError(kUnsupported) for an architecture or rope type this program does
// not know, gguf::FormatError naming the key for a missing, mistyped or out-of-range value.
ModelConfig read_model_config(const gguf::GgufFile& file);

}  // namespace olx::engine
