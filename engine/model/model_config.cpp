#include "engine/model/model_config.h"

#include <cmath>

#include "engine/arch/architecture.h"
#include "engine/error.h"
#include "engine/model/key_reader.h"

namespace olx::engine {
namespace {

std::string known_architectures() {
  std::string names;
  for (const ArchitectureRow& row : architectures()) {
    names += (names.empty() ? "" : ", ") + std::string(row.name);
  }
  return names;
}

void read_key(const KeyReader& keys, const KeySpec& spec, ModelConfig& config) {
  bool is_present = false;
  if (spec.integer != nullptr) {
    const auto value = keys.integer(spec.name, static_cast<int64_t>(spec.min),
                                    static_cast<int64_t>(spec.max));
    is_present = value.has_value();
    if (is_present) config.*spec.integer = *value;
  } else {
    const auto value = keys.real(spec.name, spec.min, spec.max);
    is_present = value.has_value();
    if (is_present) config.*spec.real = static_cast<float>(*value);
  }
  if (!is_present && spec.is_required) {
    keys.refuse(spec.name, spec.integer != nullptr ? "an integer" : "a number", "no such key");
  }
}

// "rope.*": the same keys for all architectures. Peng et al. 2023 for YaRN; "linear" is position interpolation,
// Chen et al. 2023, arXiv:2306.15595.
void read_rope(const KeyReader& keys, ModelConfig& config) {
  kernels::RopeConfig& rope = config.rope;
  rope.n_rot = keys.integer("rope.dimension_count", 2, config.head_dim).value_or(config.head_dim);
  if (rope.n_rot % 2 != 0) keys.refuse("rope.dimension_count", "an even number", std::to_string(rope.n_rot));
  rope.freq_base = keys.real("rope.freq_base", 1, 1e12).value_or(10000.0);

  const std::string type = keys.text("rope.scaling.type").value_or("");
  // Files from before rope.scaling.* say only this, and mean linear.
  const auto old_factor = keys.real("rope.scale_linear", 0, 1e6);
  double factor = keys.real("rope.scaling.factor", 0, 1e6).value_or(old_factor.value_or(1.0));
  if (factor == 0) factor = 1;  // written by some converters for "none"
  if (type == "none" || (type.empty() && factor == 1)) return;
  rope.freq_scale = 1.0 / factor;
  rope.attn_factor = keys.real("rope.scaling.attn_factor", 0, 1e3).value_or(1.0);
  if (type == "linear" || type.empty()) return;
  if (type != "yarn") {
    throw EngineError(ErrorCode::kUnsupported, keys.path() + ": " + keys.full_key("rope.scaling.type") +
                                                   ": expected none, linear or yarn, got " + type);
  }
  rope.ext_factor = keys.real("rope.scaling.yarn_ext_factor", 0, 1).value_or(1.0);
  rope.attn_factor = keys.real("rope.scaling.yarn_attn_factor", 0, 1e3).value_or(rope.attn_factor);
  rope.beta_fast = keys.real("rope.scaling.yarn_beta_fast", 0, 1e6).value_or(32.0);
  rope.beta_slow = keys.real("rope.scaling.yarn_beta_slow", 0, 1e6).value_or(1.0);
  rope.n_ctx_orig = keys.integer("rope.scaling.original_context_length", 1, 1 << 24)
                        .value_or(config.n_ctx_train);
}

// The embedding table decides. A token list may be longer (files made by Ollama's converter name image tokens that have
// no row) but not shorter: then the shape check names the mismatch.
int64_t read_vocab_size(const gguf::GgufFile& file, const KeyReader& keys) {
  constexpr int64_t kMaxVocab = 1 << 24;
  const gguf::TensorInfo* table = file.find_tensor("token_embd.weight");
  const gguf::Value* tokens = file.find("tokenizer.ggml.tokens");
  int64_t n = table != nullptr ? table->n_rows() : keys.integer("vocab_size", 1, kMaxVocab).value_or(1);
  if (tokens != nullptr && tokens->n_elems() < static_cast<uint64_t>(n)) {
    n = static_cast<int64_t>(tokens->n_elems());
  }
  if (n < 1 || n > kMaxVocab) {
    throw gguf::FormatError(file.path() + ": token_embd.weight: expected 1 .. 16777216 tokens, got " +
                            std::to_string(n));
  }
  return n;
}

// "pooling_type" as llama.cpp numbers it. "none" (0, and what a file without the key means there) is the last token's
// state in Ollama, which wants one vector: llama.cpp, include/llama.h; ollama, runner/llamarunner/runner.go.
Pooling read_pooling(const KeyReader& keys) {
  switch (keys.integer("pooling_type", 0, 4).value_or(0)) {
    case 1: return Pooling::kMean;
    case 2: return Pooling::kFirst;
    case 4:
      throw EngineError(ErrorCode::kUnsupported, keys.path() + ": " + keys.full_key("pooling_type") +
                                                     ": expected 0 to 3, got 4: models that rank are not supported");
    default: return Pooling::kLast;
  }
}

}  // namespace

ModelConfig read_model_config(const gguf::GgufFile& file) {
  ModelConfig config;
  config.architecture = std::string(file.get("general.architecture").as_string("general.architecture"));
  if (const gguf::Value* name = file.find("general.name"); name != nullptr) {
    config.name = std::string(name->as_string("general.name"));
  }
  const Architecture* architecture = find_architecture(config.architecture);
  if (architecture == nullptr) {
    throw EngineError(ErrorCode::kUnsupported, file.path() + ": general.architecture: \"" +
                                                   config.architecture + "\" is not supported (known: " +
                                                   known_architectures() + ")");
  }
  const KeyReader keys(file, config.architecture);
  architecture->set_defaults(config);
  for (const KeySpec& spec : common_keys()) {
    bool is_replaced = false;
    for (const KeySpec& own : architecture->keys()) {
      is_replaced = is_replaced || std::string_view(own.name) == spec.name;
    }
    if (!is_replaced) read_key(keys, spec, config);
  }
  for (const KeySpec& spec : architecture->keys()) read_key(keys, spec, config);

  if (config.n_kv_heads == 0) config.n_kv_heads = config.n_heads;
  if (config.head_dim == 0) {
    if (config.d_model % config.n_heads != 0) {
      keys.refuse("attention.head_count",
                  "a divisor of embedding_length " + std::to_string(config.d_model),
                  std::to_string(config.n_heads));
    }
    config.head_dim = config.d_model / config.n_heads;
  }
  if (config.n_heads % config.n_kv_heads != 0) {
    keys.refuse("attention.head_count_kv", "a divisor of head_count " + std::to_string(config.n_heads),
                std::to_string(config.n_kv_heads));
  }
  const auto value_dim = keys.integer("attention.value_length", 2, 4096);
  if (value_dim && *value_dim != config.head_dim) {
    throw EngineError(ErrorCode::kUnsupported,
                      file.path() + ": " + keys.full_key("attention.value_length") + ": " +
                          std::to_string(*value_dim) + " differs from the key length " +
                          std::to_string(config.head_dim) + ", which is not supported");
  }
  const auto n_experts = keys.integer("expert_count", 0, 1 << 20);
  if (n_experts && *n_experts > 0) {
    throw EngineError(ErrorCode::kUnsupported,
                      file.path() + ": " + keys.full_key("expert_count") + ": mixture of experts (" +
                          std::to_string(*n_experts) + ") is not supported yet");
  }
  config.vocab_size = read_vocab_size(file, keys);
  if (config.attention_scale == 0) {  // no key of the architecture set it
    config.attention_scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(config.head_dim)));
  }
  read_rope(keys, config);
  config.rope_local = config.rope;
  config.pooling = read_pooling(keys);
  architecture->finish_config(keys, config);
  return config;
}

}  // namespace olx::engine
