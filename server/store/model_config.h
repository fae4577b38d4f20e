#pragma once
// ModelConfig: the blob a manifest points to as its config, which says what the weights are without opening them.
// Parsed within bounds and written as Ollama writes it. Used by the model store and /api/show; no disk access here.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace olx::server {

inline constexpr uint64_t kMaxConfigBytes = 1 << 20;

struct ModelConfig {
  std::string model_format;  // "gguf"; missing in old files, which means the same
  std::string model_family;  // the architecture: "llama"
  std::vector<std::string> model_families;
  std::string model_type;  // number of parameters: "8.0B"
  std::string file_type;   // quantization: "Q4_K_M"
  std::string renderer, parser, required_version;
  std::vector<std::string> capabilities;
};

// Missing members stay empty. Throws gguf::FormatError.
ModelConfig parse_config(std::string_view json);
std::string config_json(const ModelConfig& config);

// "134.52M", "8.0B": a count as Ollama prints it.
std::string parameter_count_text(uint64_t n_parameters);
// The name of a value of general.file_type: "Q4_K_M"; "unknown" for 0 and what has no name.
std::string_view file_type_name(uint64_t file_type);

}  // namespace olx::server
