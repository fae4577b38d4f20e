#pragma once
// The only reinterpretation of file bytes as numbers: unaligned little-endian loads and stores.

#include <bit>
#include <cstddef>
#include <cstring>

namespace olx::gguf {

static_assert(std::endian::native == std::endian::little, "GGUF readers here assume a little-endian machine");

template <typename T>
T load(const void* bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof(T));
  return value;
}

template <typename T>
void store(void* bytes, T value) {
  std::memcpy(bytes, &value, sizeof(T));
}

}  // namespace olx::gguf
