#pragma once
// Tiny random models of every architecture, made from the architecture's own tables. Weights are noise of a size that
// keeps activations near one, so that a wrong permutation, scale or mask shows in the logits.

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "gguf/dtype.h"
#include "gguf/writer.h"

namespace olx::tests {

struct TinyModel {
  uint32_t seed = 1;
  gguf::DType dtype = gguf::DType::kF32;  // of matrices; vectors are f32
  int64_t scale = 1;                      // multiplies the widths: 8 for types of 256 per block
  bool with_optional = true;              // optional weights, an output matrix of its own
  std::function<void(gguf::GgufWriter&)> more_metadata = {};
  std::string skip_tensor = {};           // a tensor to leave out
  std::string misshape_tensor = {};       // a tensor to write with one row too many
};

inline constexpr int64_t kTinyVocab = 97;  // odd, so that every row blocking has a tail

// Writes the file. `architecture` is a row of archs.inc (OLX_CHECK).
void write_tiny_model(std::string_view architecture, const TinyModel& options, const std::string& path);

}  // namespace olx::tests
