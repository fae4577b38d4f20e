#pragma once
// How a model's size and quantization are named for people, as Ollama names them. Door of the engine: the server's store
// uses it for files it only lists.

#include <cstdint>
#include <string>

#include "gguf/reader.h"

namespace olx::engine {

// "134.52M", "1.5B", "8B": three figures at most before the unit's letter, no trailing zeros needed by Ollama's form.
std::string parameter_size_text(int64_t n_parameters);
// From general.file_type ("Q4_K_M"); where that is absent or unknown, the type most weight bytes have.
std::string file_type_text(const gguf::GgufFile& file);

}  // namespace olx::engine
