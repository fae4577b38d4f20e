#include "tests/support/tiny_model.h"

#include <cmath>
#include <map>
#include <random>
#include <vector>

#include "engine/arch/architecture.h"
#include "engine/model/model_config.h"
#include "engine/model/weight_table.h"
#include "gguf/check.h"
#include "gguf/quantize.h"
#include "gguf/reader.h"

namespace olx::tests {
namespace {

using engine::KeySpec;
using engine::WeightSpec;

bool is_width(std::string_view key) {
  return key == "embedding_length" || key == "feed_forward_length" || key == "attention.key_length";
}

void write_metadata(gguf::GgufWriter& writer, std::string_view name, const TinyModel& options) {
  std::map<std::string, const KeySpec*> keys;  // an architecture's own row replaces the common one
  for (const KeySpec& spec : engine::common_keys()) keys[spec.name] = &spec;
  for (const KeySpec& spec : engine::find_architecture(name)->keys()) keys[spec.name] = &spec;
  writer.set_string("general.architecture", name);
  writer.set_string("general.name", "tiny");
  const std::string prefix = std::string(name) + ".";
  writer.set_uint32(prefix + "vocab_size", kTinyVocab);
  for (const auto& [key, spec] : keys) {
    if (spec->tiny == 0) continue;
    if (spec->real != nullptr) {
      writer.set_float32(prefix + key, static_cast<float>(spec->tiny));
    } else {
      const int64_t scale = is_width(key) ? options.scale : 1;
      writer.set_uint32(prefix + key, static_cast<uint32_t>(static_cast<int64_t>(spec->tiny) * scale));
    }
  }
  if (options.more_metadata) options.more_metadata(writer);
}

std::vector<float> random_values(std::mt19937& rng, int64_t n, float mean, float deviation) {
  std::normal_distribution<float> normal(mean, deviation);
  std::vector<float> values(static_cast<size_t>(n));
  for (float& value : values) value = normal(rng);
  return values;
}

void add_tensor(gguf::GgufWriter& writer, const std::string& name, const WeightSpec& spec,
                const engine::ModelConfig& config, const TinyModel& options, std::mt19937& rng) {
  const bool is_vector = spec.rows == engine::Dim::kNone;
  const bool is_bias = name.ends_with(".bias");
  const int64_t n_rows = dim_size(spec.rows, config) + (name == options.misshape_tensor ? 1 : 0);
  const int64_t n_cols = dim_size(spec.cols, config);
  const float mean = is_vector && !is_bias ? 1.0f : 0.0f;
  const float deviation =
      is_vector ? 0.1f : 1.5f / std::sqrt(static_cast<float>(n_cols));
  const std::vector<float> values = random_values(rng, n_rows * n_cols, mean, deviation);
  const gguf::DType dtype = is_vector ? gguf::DType::kF32 : options.dtype;
  const int64_t row_bytes = gguf::row_size_bytes(dtype, n_cols);
  std::vector<std::byte> bytes(static_cast<size_t>(row_bytes * n_rows));
  for (int64_t row = 0; row < n_rows; ++row) {
    gguf::quantize_row(dtype, values.data() + row * n_cols, bytes.data() + row * row_bytes, n_cols);
  }
  const std::vector<int64_t> shape =
      is_vector && n_rows == 1 ? std::vector<int64_t>{n_cols} : std::vector<int64_t>{n_rows, n_cols};
  writer.add_tensor(name, dtype, shape, bytes);
}

}  // namespace

void write_tiny_model(std::string_view name, const TinyModel& options, const std::string& path) {
  const engine::Architecture* architecture = engine::find_architecture(name);
  OLX_CHECK(architecture != nullptr);
  {
    // Dimensions follow from the metadata by the same code that reads a model.
    gguf::GgufWriter writer;
    write_metadata(writer, name, options);
    writer.write(path);
  }
  const engine::ModelConfig config = engine::read_model_config(gguf::GgufFile::open(path));
  gguf::GgufWriter writer;
  write_metadata(writer, name, options);
  std::mt19937 rng(options.seed);
  for (const WeightSpec& spec : architecture->weights()) {
    if (!options.with_optional && (!spec.is_required || spec.alternate != nullptr)) continue;
    for (int64_t layer = 0; layer < (spec.is_per_layer ? config.n_layers : 1); ++layer) {
      const std::string tensor = engine::tensor_name(spec, layer);
      if (tensor != options.skip_tensor) add_tensor(writer, tensor, spec, config, options, rng);
    }
  }
  writer.write(path);
}

}  // namespace olx::tests
