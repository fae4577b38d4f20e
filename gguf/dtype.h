#pragma once
// How numbers are encoded in a tensor: the ids of the GGUF file, with block geometry.
// Used by every folder. It is not a decoder: that is quantize.h.

#include <cstdint>
#include <string_view>

namespace olx::gguf {

// Values equal the type ids in the file. Ids without an enumerator are refused by the reader.
enum class DType : uint32_t {
  kF32 = 0,
  kF16 = 1,
  kQ4_0 = 2,
  kQ4_1 = 3,
  kQ5_0 = 6,
  kQ5_1 = 7,
  kQ8_0 = 8,
  kQ2_K = 10,
  kQ3_K = 11,
  kQ4_K = 12,
  kQ5_K = 13,
  kQ6_K = 14,
  kIQ4_NL = 20,
  kIQ4_XS = 23,
  kI8 = 24,
  kI16 = 25,
  kI32 = 26,
  kI64 = 27,
  kF64 = 28,
  kBF16 = 30,
  kMXFP4 = 39,
};

struct DTypeInfo {
  DType dtype;
  std::string_view name;  // as GGUF tools print it: "Q4_K", "F16"
  int64_t block_elems;    // elements of one block; a row length is a multiple of it
  int64_t block_bytes;    // bytes of one block
};

// The row of the table for an id from a file; nullptr when the id is unknown or not implemented.
const DTypeInfo* find_dtype(uint32_t id);
// The row of the table for a known type. Never fails for an enumerator.
const DTypeInfo& dtype_info(DType dtype);
// By name, case-insensitive ("q4_k"); nullptr when unknown.
const DTypeInfo* find_dtype(std::string_view name);

// Bytes of a row of n_elems elements; n_elems must be a multiple of block_elems (OLX_CHECK).
int64_t row_size_bytes(DType dtype, int64_t n_elems);

}  // namespace olx::gguf
