#include "engine/model/weight_table.h"

#include <cstdio>

#include "engine/error.h"
#include "gguf/check.h"

namespace olx::engine {
namespace {

// A file for another network lacks hundreds of tensors; the first ones tell the story.
constexpr size_t kMaxListed = 12;

std::string offset_text(uint64_t offset) {
  char text[24];
  std::snprintf(text, sizeof text, "0x%llx", static_cast<unsigned long long>(offset));
  return text;
}

bool holds_numbers(gguf::DType dtype) {
  switch (dtype) {
    case gguf::DType::kI8:
    case gguf::DType::kI16:
    case gguf::DType::kI32:
    case gguf::DType::kI64:
    case gguf::DType::kF64:
      return false;
    default:
      return true;
  }
}

std::string problem_of(const std::string& name, const gguf::TensorInfo& tensor, const Weight& weight) {
  const bool is_right_shape =
      tensor.n_cols() == weight.n_cols && tensor.n_rows() == (weight.is_vector ? 1 : weight.n_rows);
  const std::string at = " @ " + offset_text(tensor.offset_bytes);
  if (!is_right_shape) {
    const std::string expected =
        weight.is_vector
            ? "[" + std::to_string(weight.n_cols) + "]"
            : "[" + std::to_string(weight.n_rows) + ", " + std::to_string(weight.n_cols) + "]";
    return name + ": expected " + expected + ", file has " + tensor.shape_text() + at;
  }
  if (!holds_numbers(tensor.dtype)) {
    return name + ": expected a float or quantized type, file has " +
           std::string(gguf::dtype_info(tensor.dtype).name) + at;
  }
  return "";
}

}  // namespace

std::string tensor_name(const WeightSpec& spec, int64_t layer) {
  return spec.is_per_layer ? "blk." + std::to_string(layer) + "." + spec.name : spec.name;
}

WeightTable::WeightTable(const gguf::GgufFile& file, const Architecture& architecture,
                         const ModelConfig& config)
    : architecture_(architecture) {
  std::vector<std::string> problems;
  for (const WeightSpec& spec : architecture.weights()) {
    for (int64_t layer = 0; layer < (spec.is_per_layer ? config.n_layers : 1); ++layer) {
      const std::string name = tensor_name(spec, layer);
      const gguf::TensorInfo* tensor = file.find_tensor(name);
      if (tensor == nullptr && spec.alternate != nullptr) {
        // The alternate is a weight of its own, above this row in the table.
        const auto other = by_name_.find(spec.alternate);
        if (other != by_name_.end()) by_name_[name] = other->second;
        continue;
      }
      if (tensor == nullptr) {
        if (spec.is_required) problems.push_back(name + ": missing");
        continue;
      }
      Weight weight{.tensor = tensor,
                    .n_rows = dim_size(spec.rows, config),
                    .n_cols = dim_size(spec.cols, config),
                    .is_vector = spec.rows == Dim::kNone};
      std::string problem = problem_of(name, *tensor, weight);
      if (!problem.empty()) problems.push_back(std::move(problem));
      by_name_[name] = static_cast<int>(weights_.size());
      weights_.push_back(weight);
    }
  }
  if (problems.empty()) return;
  std::string message = file.path() + ": not a complete " + config.architecture + " model: ";
  for (size_t i = 0; i < problems.size() && i < kMaxListed; ++i) {
    message += (i == 0 ? "" : "; ") + problems[i];
  }
  if (problems.size() > kMaxListed) {
    message += "; and " + std::to_string(problems.size() - kMaxListed) + " more";
  }
  throw EngineError(ErrorCode::kModelLoad, message);
}

bool WeightTable::is_per_layer(std::string_view name) const {
  for (const WeightSpec& spec : architecture_.weights()) {
    if (name == spec.name) return spec.is_per_layer;
  }
  std::fprintf(stderr, "weight %.*s is not in the architecture's table\n", static_cast<int>(name.size()),
               name.data());
  OLX_CHECK(false);
  return false;
}

int WeightTable::find(std::string_view name, int64_t layer) const {
  const bool per_layer = is_per_layer(name);
  OLX_CHECK(!per_layer || layer >= 0);
  const std::string full =
      per_layer ? "blk." + std::to_string(layer) + "." + std::string(name) : std::string(name);
  const auto found = by_name_.find(full);
  return found == by_name_.end() ? -1 : found->second;
}

}  // namespace olx::engine
