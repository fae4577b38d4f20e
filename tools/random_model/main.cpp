// random_model SHAPE.txt TYPE OUT.gguf: a model of random weights with the shape of a real one, for benches and for limits
// that no small model reaches. It computes with numbers of the right size and writes nonsense. Shapes are in bench/shapes.
#include <cmath>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <fstream>
#include <map>
#include <random>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "engine/arch/architecture.h"
#include "engine/model/model_config.h"
#include "engine/model/weight_table.h"
#include "gguf/quantize.h"
#include "gguf/reader.h"
#include "gguf/writer.h"

namespace {

using namespace olx;

using Shape = std::map<std::string, std::string>;

Shape read_shape(const std::string& path) {
  std::ifstream file(path);
  if (!file) throw std::runtime_error(path + ": cannot be read");
  Shape shape;
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string key, value;
    if (words >> key && key[0] != '#' && words >> value) shape[key] = value;
  }
  for (const char* key : {"architecture", "vocab_size", "block_count", "embedding_length"})
    if (!shape.contains(key)) throw std::runtime_error(path + ": has no line \"" + key + " …\"");
  return shape;
}

const engine::KeySpec* find_key(const engine::Architecture& architecture, const std::string& name) {
  for (const auto keys : {architecture.keys(), engine::common_keys()})
    for (const engine::KeySpec& spec : keys)
      if (spec.name == name) return &spec;
  return nullptr;
}

// A vocabulary every reader accepts: SentencePiece with the 256 bytes and made-up words.
void write_vocabulary(gguf::GgufWriter& writer, int64_t n_tokens) {
  constexpr int32_t kNormal = 1, kUnknown = 2, kControl = 3, kByte = 6;
  std::vector<std::string> tokens{"<unk>", "<s>", "</s>"};
  std::vector<int32_t> kinds{kUnknown, kControl, kControl};
  for (int byte = 0; byte < 256; ++byte) {
    char text[8];
    std::snprintf(text, sizeof text, "<0x%02X>", byte);
    tokens.emplace_back(text);
    kinds.push_back(kByte);
  }
  while (static_cast<int64_t>(tokens.size()) < n_tokens) {
    tokens.push_back("\u2581w" + std::to_string(tokens.size()));
    kinds.push_back(kNormal);
  }
  tokens.resize(static_cast<size_t>(n_tokens));
  kinds.resize(static_cast<size_t>(n_tokens));
  std::vector<float> scores;
  for (size_t i = 0; i < tokens.size(); ++i) scores.push_back(-static_cast<float>(i));
  writer.set_string("tokenizer.ggml.model", "llama");
  writer.set_strings("tokenizer.ggml.tokens", tokens);
  writer.set_float32s("tokenizer.ggml.scores", scores);
  writer.set_int32s("tokenizer.ggml.token_type", kinds);
  writer.set_uint32("tokenizer.ggml.bos_token_id", 1);
  writer.set_uint32("tokenizer.ggml.eos_token_id", 2);
}

void write_metadata(gguf::GgufWriter& writer, const Shape& shape, const engine::Architecture& architecture) {
  const std::string name = shape.at("architecture");
  writer.set_string("general.architecture", name);
  writer.set_string("general.name", "random weights");
  for (const auto& [key, value] : shape) {
    if (key == "architecture") continue;
    const engine::KeySpec* spec = find_key(architecture, key);
    const bool is_real = spec != nullptr ? spec->real != nullptr : value.find_first_of(".e") != std::string::npos || key == "rope.freq_base";
    if (is_real) writer.set_float32(name + "." + key, std::stof(value));
    else writer.set_uint32(name + "." + key, static_cast<uint32_t>(std::stoul(value)));
  }
  write_vocabulary(writer, std::stoll(shape.at("vocab_size")));
}

// The types of llama.cpp's mixtures (llama-quant.cpp of 2024-2026): the value matrices and ffn_down of every third layer and
// of the first and last eighth, and the output matrix, are better than the rest.
gguf::DType type_of(const std::string& mixture, const std::string& tensor, int64_t layer, int64_t n_layers) {
  if (mixture == "q4_k_m" || mixture == "q5_k_m") {
    const int64_t eighth = n_layers / 8;
    const bool is_better_layer = layer < eighth || layer >= 7 * eighth || (layer - eighth) % 3 == 2;
    if (tensor == "output.weight") return gguf::DType::kQ6_K;
    if ((tensor == "attn_v.weight" || tensor == "ffn_down.weight") && is_better_layer) return gguf::DType::kQ6_K;
    return mixture == "q4_k_m" ? gguf::DType::kQ4_K : gguf::DType::kQ5_K;
  }
  if (const gguf::DTypeInfo* info = gguf::find_dtype(mixture)) return info->dtype;
  throw std::runtime_error("type: expected q4_k_m, q5_k_m or a block type such as q8_0, got " + mixture);
}

// Rows to choose from: encoding every weight on its own would take minutes and look no different to a kernel.
class RowPool {
 public:
  const std::vector<std::byte>& rows(gguf::DType dtype, int64_t n_cols) {
    std::vector<std::byte>& pool = pools_[{dtype, n_cols}];
    if (!pool.empty()) return pool;
    std::normal_distribution<float> normal(0, 1.0f / std::sqrt(static_cast<float>(n_cols)));
    const int64_t row_bytes = gguf::row_size_bytes(dtype, n_cols);
    pool.resize(static_cast<size_t>(kRows * row_bytes));
    std::vector<float> row(static_cast<size_t>(n_cols));
    for (int64_t i = 0; i < kRows; ++i) {
      for (float& value : row) value = normal(random_);
      gguf::quantize_row(dtype, row.data(), pool.data() + i * row_bytes, n_cols);
    }
    return pool;
  }
  std::vector<std::byte> matrix(gguf::DType dtype, int64_t n_rows, int64_t n_cols) {
    const std::vector<std::byte>& pool = rows(dtype, n_cols);
    const int64_t row_bytes = gguf::row_size_bytes(dtype, n_cols);
    std::vector<std::byte> out(static_cast<size_t>(n_rows * row_bytes));
    for (int64_t i = 0; i < n_rows; ++i)
      std::copy_n(pool.data() + static_cast<int64_t>(random_() % kRows) * row_bytes, row_bytes, out.data() + i * row_bytes);
    return out;
  }

 private:
  static constexpr int64_t kRows = 256;
  std::mt19937 random_{1};
  std::map<std::pair<gguf::DType, int64_t>, std::vector<std::byte>> pools_;
};

void make(const std::string& shape_path, const std::string& mixture, const std::string& out_path) {
  const Shape shape = read_shape(shape_path);
  const engine::Architecture* architecture = engine::find_architecture(shape.at("architecture"));
  if (architecture == nullptr) throw std::runtime_error(shape_path + ": no such architecture: " + shape.at("architecture"));
  gguf::GgufWriter writer;
  write_metadata(writer, shape, *architecture);
  writer.write(out_path);  // without tensors: dimensions follow from the metadata by the code that reads a model
  const engine::ModelConfig config = engine::read_model_config(gguf::GgufFile::open(out_path));
  RowPool pool;
  for (const engine::WeightSpec& spec : architecture->weights()) {
    if (!spec.is_required) continue;
    for (int64_t layer = 0; layer < (spec.is_per_layer ? config.n_layers : 1); ++layer) {
      const bool is_vector = spec.rows == engine::Dim::kNone;
      const int64_t n_rows = dim_size(spec.rows, config), n_cols = dim_size(spec.cols, config);
      if (is_vector) {
        const std::vector<float> ones(static_cast<size_t>(n_cols), 1.0f);
        writer.add_tensor(engine::tensor_name(spec, layer), gguf::DType::kF32, std::vector<int64_t>{n_cols}, std::as_bytes(std::span(ones)));
      } else {
        const gguf::DType dtype = type_of(mixture, spec.name, spec.is_per_layer ? layer : config.n_layers / 2, config.n_layers);
        writer.add_tensor(engine::tensor_name(spec, layer), dtype, std::vector<int64_t>{n_rows, n_cols}, pool.matrix(dtype, n_rows, n_cols));
      }
    }
  }
  writer.write(out_path);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: random_model SHAPE.txt TYPE OUT.gguf     TYPE: q4_k_m, q5_k_m, or a block type such as q8_0\n");
    return 2;
  }
  try {
    make(argv[1], argv[2], argv[3]);
    std::printf("%s: %.1f MB\n", argv[3], static_cast<double>(std::filesystem::file_size(argv[3])) / 1e6);
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "Error: %s\n", error.what());
    return 1;
  }
}
