#pragma once
// WeightTable: the tensors of a file matched against an architecture's table of weights: which tensor is which weight,
// and whether its shape is the one the hyper-parameters imply. No bytes are read here: that is the loader.

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "engine/arch/architecture.h"
#include "engine/model/model_config.h"
#include "gguf/reader.h"

namespace olx::engine {

struct Weight {
  const gguf::TensorInfo* tensor = nullptr;  // owned by the file
  int64_t n_rows = 1;
  int64_t n_cols = 0;
  bool is_vector = false;  // norms, biases, frequency factors: held as f32
};

class WeightTable {
 public:
  // Throws EngineError(kModelLoad) with one message that lists every missing tensor and every wrong shape.
  WeightTable(const gguf::GgufFile& file, const Architecture& architecture, const ModelConfig& config);

  const std::vector<Weight>& weights() const { return weights_; }
  const Weight& operator[](int index) const { return weights_[static_cast<size_t>(index)]; }
  // Index of a weight by the name in the architecture's table; layer < 0 for one that is not per layer.
  // -1 for an optional weight the file does not have. A name outside the table is a mistake (OLX_CHECK).
  int find(std::string_view name, int64_t layer) const;
  // Whether the architecture's table has that name as a per-layer weight.
  bool is_per_layer(std::string_view name) const;

 private:
  const Architecture& architecture_;
  std::vector<Weight> weights_;
  std::map<std::string, int, std::less<>> by_name_;  // names in the file, alternates resolved
};

// "blk.3.attn_q.weight"
std::string tensor_name(const WeightSpec& spec, int64_t layer);

}  // namespace olx::engine
