#pragma once
// Metadata of a GGUF file as plain values, for people and programs that look at it: `inspect gguf` and /api/show.

#include <cstdint>
#include <string_view>

#include "engine/value.h"
#include "gguf/value.h"

namespace olx::engine {

// An array becomes a list of at most max_elems of its elements. Integers above 2^63 become doubles.
Value metadata_value(std::string_view key, const gguf::Value& value, uint64_t max_elems);

}  // namespace olx::engine
