#include "bench/model_shape.h"

#include <charconv>
#include <fstream>
#include <map>
#include <sstream>
#include <stdexcept>

#include "bench/embedded.h"

namespace olx::bench {
namespace {

constexpr int64_t kMaxDimension = 1 << 20;
constexpr int64_t kMaxElems = int64_t{1} << 31;

int64_t dimension(const std::string& where, const std::string& text) {
  int64_t value = 0;
  const char* end = text.data() + text.size();
  if (const auto [last, error] = std::from_chars(text.data(), end, value); error != std::errc() || last != end || value < 1 || value > kMaxDimension)
    throw std::runtime_error(where + ": expected a number from 1 to " + std::to_string(kMaxDimension) + ", got '" + text + "'");
  return value;
}

ModelShape parse(const std::string& name, std::istream& lines) {
  std::map<std::string, std::string> values;
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string key, value;
    if (words >> key && key[0] != '#' && words >> value) values[key] = value;
  }
  const auto get = [&](const char* key) {
    const auto found = values.find(key);
    if (found == values.end()) throw std::runtime_error(name + ": has no line \"" + key + " …\"");
    return dimension(name + ": " + key, found->second);
  };
  ModelShape shape;
  shape.name = name;
  shape.d_model = get("embedding_length");
  shape.n_layers = get("block_count");
  shape.d_ff = get("feed_forward_length");
  shape.n_heads = get("attention.head_count");
  shape.n_kv_heads = values.contains("attention.head_count_kv") ? get("attention.head_count_kv") : shape.n_heads;
  shape.head_dim = values.contains("attention.key_length") ? get("attention.key_length") : shape.d_model / shape.n_heads;
  const int64_t d_q = shape.n_heads * shape.head_dim, d_kv = shape.n_kv_heads * shape.head_dim;
  if (shape.head_dim == 0 || d_q > kMaxDimension || shape.n_heads % shape.n_kv_heads != 0)
    throw std::runtime_error(name + ": " + std::to_string(shape.n_heads) + " heads do not fit " + std::to_string(shape.n_kv_heads) +
                             " of keys and a width of " + std::to_string(shape.d_model));
  shape.layer = {{"attn_q", d_q, shape.d_model}, {"attn_k", d_kv, shape.d_model, true}, {"attn_v", d_kv, shape.d_model, true},
                 {"attn_output", shape.d_model, d_q}, {"ffn_gate", shape.d_ff, shape.d_model},
                 {"ffn_up", shape.d_ff, shape.d_model, true}, {"ffn_down", shape.d_model, shape.d_ff}};
  return shape;
}

}  // namespace

ModelShape read_model_shape(const std::string& text) {
  ModelShape shape;
  if (text == "llama-1.1b" || text == "mistral-7b") {
    std::istringstream lines{std::string(text == "llama-1.1b" ? k_llama_1_1b_txt : k_mistral_7b_txt)};
    shape = parse(text, lines);
  } else if (const size_t x = text.find('x'); x != std::string::npos && text.find_first_not_of("0123456789x") == std::string::npos) {
    const int64_t n_rows = dimension("--shape " + text, text.substr(0, x)), n_cols = dimension("--shape " + text, text.substr(x + 1));
    shape = {text, n_cols, 1, 1, 64, n_cols, 1, {{text, n_rows, n_cols}}};
  } else {
    std::ifstream file(text);
    if (!file) throw std::runtime_error("--shape " + text + ": expected a file, llama-1.1b, mistral-7b or ROWSxCOLUMNS");
    shape = parse(text, file);
  }
  for (const Matrix& matrix : shape.layer)
    if (matrix.n_rows * matrix.n_cols > kMaxElems) throw std::runtime_error(text + ": " + matrix.name + " has more than 2^31 elements");
  return shape;
}

}  // namespace olx::bench
