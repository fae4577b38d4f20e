#include "gguf/dtype.h"

#include <array>

#include "gguf/ascii.h"
#include "gguf/check.h"

namespace olx::gguf {
namespace {

// Geometry: GGUF specification and the block definitions in blocks.h.
constexpr std::array<DTypeInfo, 21> kDTypes{{
    {DType::kF32, "F32", 1, 4},       {DType::kF16, "F16", 1, 2},       {DType::kQ4_0, "Q4_0", 32, 18},
    {DType::kQ4_1, "Q4_1", 32, 20},   {DType::kQ5_0, "Q5_0", 32, 22},   {DType::kQ5_1, "Q5_1", 32, 24},
    {DType::kQ8_0, "Q8_0", 32, 34},   {DType::kQ2_K, "Q2_K", 256, 84},  {DType::kQ3_K, "Q3_K", 256, 110},
    {DType::kQ4_K, "Q4_K", 256, 144}, {DType::kQ5_K, "Q5_K", 256, 176}, {DType::kQ6_K, "Q6_K", 256, 210},
    {DType::kIQ4_NL, "IQ4_NL", 32, 18}, {DType::kIQ4_XS, "IQ4_XS", 256, 136}, {DType::kI8, "I8", 1, 1},
    {DType::kI16, "I16", 1, 2},       {DType::kI32, "I32", 1, 4},       {DType::kI64, "I64", 1, 8},
    {DType::kF64, "F64", 1, 8},       {DType::kBF16, "BF16", 1, 2},     {DType::kMXFP4, "MXFP4", 32, 17},
}};

}  // namespace

const DTypeInfo* find_dtype(uint32_t id) {
  for (const DTypeInfo& row : kDTypes)
    if (static_cast<uint32_t>(row.dtype) == id) return &row;
  return nullptr;
}

const DTypeInfo* find_dtype(std::string_view name) {
  for (const DTypeInfo& row : kDTypes)
    if (ascii::equal_ignoring_case(row.name, name)) return &row;
  return nullptr;
}

const DTypeInfo& dtype_info(DType dtype) {
  const DTypeInfo* row = find_dtype(static_cast<uint32_t>(dtype));
  OLX_CHECK(row != nullptr);
  return *row;
}

int64_t row_size_bytes(DType dtype, int64_t n_elems) {
  const DTypeInfo& row = dtype_info(dtype);
  OLX_CHECK(n_elems >= 0 && n_elems % row.block_elems == 0);
  return n_elems / row.block_elems * row.block_bytes;
}

}  // namespace olx::gguf
