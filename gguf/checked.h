#pragma once
// The only size arithmetic on numbers that come from a file: false on overflow, result untouched.

#include <cstdint>

namespace olx::gguf {

[[nodiscard]] inline bool checked_add(uint64_t a, uint64_t b, uint64_t& sum) {
  uint64_t result = 0;
  if (__builtin_add_overflow(a, b, &result)) return false;
  sum = result;
  return true;
}

[[nodiscard]] inline bool checked_mul(uint64_t a, uint64_t b, uint64_t& product) {
  uint64_t result = 0;
  if (__builtin_mul_overflow(a, b, &result)) return false;
  product = result;
  return true;
}

}  // namespace olx::gguf
