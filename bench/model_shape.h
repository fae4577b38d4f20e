#pragma once
// Dimensions of a model, read from a file of bench/shapes (tools/random_model reads the same) or of one matrix. Used by
// `ollamax-bench kernels`.

#include <cstdint>
#include <string>
#include <vector>

namespace olx::bench {

struct Matrix {
  std::string name;
  int64_t n_rows = 0, n_cols = 0;
  bool shares_input = false;  // with the one before: both may run at the same time
};

struct ModelShape {
  std::string name;
  int64_t d_model = 0, n_heads = 0, n_kv_heads = 0, head_dim = 0, d_ff = 0, n_layers = 1;
  std::vector<Matrix> layer;  // in the order a step multiplies with them
};

// "llama-1.1b" and "mistral-7b" are built in; "4096x14336" is one matrix of 4096 rows; otherwise a file. Throws
// std::runtime_error that says what was expected.
ModelShape read_model_shape(const std::string& text);

}  // namespace olx::bench
