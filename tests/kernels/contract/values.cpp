// How inputs of contract cases are drawn, and the dispatch from an op to its cases.

#include <cmath>
#include <cstring>

#include "gguf/blocks.h"
#include "gguf/check.h"
#include "gguf/quantize.h"
#include "tests/kernels/contract/case.h"

namespace olx::kernels::contract {
namespace {

float draw(Values values, float huge, bool sign, Rng& rng) {
  switch (values) {
    case Values::kZero: return 0;
    case Values::kMaxCodes: return sign ? 1.0f : -1.0f;
    case Values::kHuge: return rng.uniform() * huge;
    case Values::kOutliers: return rng.below(50) == 0 ? 300 * rng.uniform() : rng.uniform();
    case Values::kRandom: break;
  }
  return rng.uniform();
}

// Byte offsets of a block's f16 scales: random codes are valid, random scales would be NaN.
std::vector<size_t> scale_offsets(DType dtype) {
  using namespace gguf;
  switch (dtype) {
    case DType::kQ4_1: return {offsetof(BlockQ4_1, d), offsetof(BlockQ4_1, m)};
    case DType::kQ5_1: return {offsetof(BlockQ5_1, d), offsetof(BlockQ5_1, m)};
    case DType::kQ2_K: return {offsetof(BlockQ2_K, d), offsetof(BlockQ2_K, dmin)};
    case DType::kQ3_K: return {offsetof(BlockQ3_K, d)};
    case DType::kQ4_K: return {offsetof(BlockQ4_K, d), offsetof(BlockQ4_K, dmin)};
    case DType::kQ5_K: return {offsetof(BlockQ5_K, d), offsetof(BlockQ5_K, dmin)};
    case DType::kQ6_K: return {offsetof(BlockQ6_K, d)};
    case DType::kMXFP4: return {};
    default: return {0};
  }
}

}  // namespace

const char* values_name(Values values) {
  switch (values) {
    case Values::kRandom: return "random";
    case Values::kZero: return "zero";
    case Values::kMaxCodes: return "max codes";
    case Values::kHuge: return "huge";
    case Values::kOutliers: return "outliers";
  }
  return "";
}

void fill(const MatrixView& matrix, Values values, float huge, Rng& rng) {
  const bool sign = rng.coin();
  for (int64_t row = 0; row < matrix.n_rows; ++row)
    for (int64_t col = 0; col < matrix.n_cols; ++col) matrix.row(row)[col] = draw(values, huge, sign, rng);
}

std::vector<std::byte> random_weights(DType dtype, int64_t n_rows, int64_t n_cols, Values values, Rng& rng) {
  const gguf::DTypeInfo& info = gguf::dtype_info(dtype);
  const int64_t row_bytes = gguf::row_size_bytes(dtype, n_cols);
  std::vector<std::byte> bytes(static_cast<size_t>(n_rows * row_bytes));
  if (info.block_elems == 1 || values == Values::kOutliers) {
    // Encoded from numbers, so that scales and codes belong together as in a real file.
    std::vector<float> row(static_cast<size_t>(n_cols));
    const bool sign = rng.coin();
    for (int64_t i = 0; i < n_rows; ++i) {
      for (float& x : row) x = draw(values == Values::kMaxCodes ? values : Values::kOutliers, 1, sign, rng);
      gguf::quantize_row(dtype, row.data(), bytes.data() + i * row_bytes, n_cols);
    }
    return bytes;
  }
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(rng.bits());
  if (values == Values::kMaxCodes) std::memset(bytes.data(), rng.coin() ? 0xFF : 0, bytes.size());
  for (size_t at = 0; at < bytes.size(); at += static_cast<size_t>(info.block_bytes)) {
    for (size_t offset : scale_offsets(dtype)) {
      const float scale = rng.below(8) == 0 ? 0.0f : std::ldexp(rng.uniform(), -static_cast<int>(rng.below(6)));
      const uint16_t half = gguf::f32_to_f16(scale);
      std::memcpy(bytes.data() + at + offset, &half, sizeof half);
    }
    if (dtype == DType::kMXFP4) bytes[at] = static_cast<std::byte>(118 + rng.below(16));
  }
  return bytes;
}

std::vector<float> read_matrix(const MatrixView& matrix) {
  std::vector<float> result;
  result.reserve(static_cast<size_t>(matrix.n_rows * matrix.n_cols));
  for (int64_t row = 0; row < matrix.n_rows; ++row)
    result.insert(result.end(), matrix.row(row), matrix.row(row) + matrix.n_cols);
  return result;
}

void each_case(const KernelRow& row, const CaseContext& context, const CaseVisitor& visit) {
  bool wants_more = true;
  const CaseVisitor accepted = [&](Case& c) {
    if (!wants_more) return false;
    if (row.accepts != nullptr && !row.accepts(c.args_pointer())) return true;
    const std::string refusal = validate(row.op, c.args_pointer());
    if (!refusal.empty()) std::fprintf(stderr, "case %s: %s\n", c.name.c_str(), refusal.c_str());
    OLX_CHECK(refusal.empty());  // the generators of this folder make valid arguments only
    return wants_more = visit(c);
  };
  switch (row.op) {
    case Op::kEmbed: return each_embed_case(row, context, accepted);
    case Op::kQuantize: return each_quantize_case(row, context, accepted);
    case Op::kMatmul: return each_matmul_case(row, context, accepted);
    case Op::kRmsNorm: return each_rms_norm_case(row, context, accepted);
    case Op::kRopeTable: return each_rope_table_case(row, context, accepted);
    case Op::kRope: return each_rope_case(row, context, accepted);
    case Op::kKvStore: return each_kv_store_case(row, context, accepted);
    case Op::kAttention: return each_attention_case(row, context, accepted);
    case Op::kGatedActivation:
    case Op::kAdd:
    case Op::kScale:
    case Op::kSoftcap: return each_elementwise_case(row, context, accepted);
    case Op::kSoftmax: return each_softmax_case(row, context, accepted);
    case Op::kGatedMatmul: return each_gated_matmul_case(row, context, accepted);
    case Op::kQkvMatmul: return each_qkv_matmul_case(row, context, accepted);
    case Op::kTopK: return each_top_k_case(row, context, accepted);
    case Op::kQkvStore: return each_qkv_store_case(row, context, accepted);
    case Op::kRmsNormAdd: return each_rms_norm_add_case(row, context, accepted);
  }
}

}  // namespace olx::kernels::contract
