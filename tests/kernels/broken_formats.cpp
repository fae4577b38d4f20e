// Kernels over an activation format and a layout of their own, with and without a fault; rows in broken_kernels.inc.

#include "tests/kernels/broken_formats.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "gguf/blocks.h"
#include "gguf/quantize.h"
#include "kernels/api/args.h"

namespace olx::kernels::broken {
namespace {

struct Plain8 {
  float scale;
  int8_t codes[32];
};

int64_t plain8_size(int64_t n_tokens, int64_t n_cols) {
  return n_tokens * (n_cols / 32) * static_cast<int64_t>(sizeof(Plain8));
}

const Plain8* plain8_row(const void* data, int64_t n_cols, int64_t token) {
  return static_cast<const Plain8*>(data) + token * (n_cols / 32);
}

void plain8_decode(const ActivationView& from, int64_t token, float* x) {
  const Plain8* blocks = plain8_row(from.data, from.n_cols, token);
  for (int64_t i = 0; i < from.n_cols; ++i) x[i] = blocks[i / 32].scale * static_cast<float>(blocks[i / 32].codes[i % 32]);
}

int64_t reversed_size(DType dtype, int64_t n_rows, int64_t n_cols) {
  return n_rows * gguf::row_size_bytes(dtype, n_cols);
}

template <bool is_lossy>
void reversed_pack(DType dtype, int64_t n_rows, int64_t n_cols, const void* native, void* packed, RowRange range) {
  const int64_t row_bytes = gguf::row_size_bytes(dtype, n_cols);
  for (int64_t row = range.from; row < range.to; ++row) {
    auto* to = static_cast<std::byte*>(packed) + (n_rows - 1 - row) * row_bytes;
    std::memcpy(to, static_cast<const std::byte*>(native) + (row - range.from) * row_bytes,
                static_cast<size_t>(row_bytes));
    if (is_lossy) to[0] = std::byte{0};
  }
}

void reversed_unpack(DType dtype, int64_t n_rows, int64_t n_cols, const void* packed, int64_t row, void* native) {
  const int64_t row_bytes = gguf::row_size_bytes(dtype, n_cols);
  std::memcpy(native, static_cast<const std::byte*>(packed) + (n_rows - 1 - row) * row_bytes,
              static_cast<size_t>(row_bytes));
}

enum class Fault { kNone, kTruncates, kDividesByZero, kOneScale, kNoLayout };

template <Fault fault>
void quantize(const QuantizeArgs& args, RowRange range) {
  for (int64_t token = range.from; token < range.to; ++token) {
    auto* blocks = const_cast<Plain8*>(plain8_row(args.y.data, args.x.n_cols, token));
    for (int64_t from = 0; from < args.x.n_cols; from += 32, ++blocks) {
      const float* x = args.x.row(token) + from;
      float largest = 0;
      for (int i = 0; i < 32; ++i) largest = std::max(largest, std::abs(x[i]));
      blocks->scale = largest / 127;
      for (int i = 0; i < 32; ++i) {
        if (blocks->scale == 0 && fault != Fault::kDividesByZero) {
          blocks->codes[i] = 0;
          continue;
        }
        const float code = x[i] / blocks->scale;
        blocks->codes[i] = static_cast<int8_t>(fault == Fault::kTruncates ? std::trunc(code)
                                               : std::isnan(code)         ? 1
                                                                          : std::nearbyint(code));
      }
      if (fault == Fault::kDividesByZero && largest == 0) blocks->scale = NAN;
    }
  }
}

template <Fault fault>
void matmul(const MatmulArgs& args, RowRange range) {
  const int64_t n_blocks = args.w.n_cols / 32;
  const bool is_reversed = args.w.layout != nullptr && fault != Fault::kNoLayout;
  for (int64_t row = range.from; row < range.to; ++row) {
    const int64_t at = is_reversed ? args.w.n_rows - 1 - row : row;
    const auto* w = static_cast<const gguf::BlockQ8_0*>(args.w.data) + at * n_blocks;
    for (int64_t token = 0; token < args.y.n_rows; ++token) {
      const Plain8* x = plain8_row(args.x.data, args.w.n_cols, token);
      float sum = 0;
      for (int64_t block = 0; block < n_blocks; ++block) {
        int dot = 0;
        for (int i = 0; i < 32; ++i) dot += x[block].codes[i] * w[block].qs[i];
        const float scale = x[fault == Fault::kOneScale ? 0 : block].scale;
        sum += scale * gguf::f16_to_f32(w[block].d) * static_cast<float>(dot);
      }
      if (args.bias != nullptr) sum += args.bias[row];
      if (args.residual != nullptr) sum += args.residual[token * args.y.row_stride_elems + row];
      args.y.row(token)[row] = sum;
    }
  }
}

}  // namespace

const ActivationFormat kActivationPlain8{"plain8", plain8_size, plain8_decode, 0.5 / 127 * (1 + 1e-5), 32};
const ActivationFormat kActivationUnclaimed{"unclaimed", plain8_size, plain8_decode, 0.5 / 127 * (1 + 1e-5), 32};
const WeightLayout kLayoutReversed{"reversed", 1, reversed_size, reversed_pack<false>, reversed_unpack};
const WeightLayout kLayoutLossy{"lossy", 1, reversed_size, reversed_pack<true>, reversed_unpack};

void quantize_plain8_sound(const QuantizeArgs& args, RowRange range) { quantize<Fault::kNone>(args, range); }
void quantize_plain8_truncates(const QuantizeArgs& args, RowRange range) { quantize<Fault::kTruncates>(args, range); }
void quantize_plain8_divides_by_zero(const QuantizeArgs& args, RowRange range) {
  quantize<Fault::kDividesByZero>(args, range);
}
void matmul_plain8_sound(const MatmulArgs& args, RowRange range) { matmul<Fault::kNone>(args, range); }
void matmul_plain8_takes_one_scale(const MatmulArgs& args, RowRange range) { matmul<Fault::kOneScale>(args, range); }
void matmul_plain8_ignores_the_layout(const MatmulArgs& args, RowRange range) { matmul<Fault::kNoLayout>(args, range); }
void matmul_plain8_from_a_lossy_layout(const MatmulArgs& args, RowRange range) { matmul<Fault::kNone>(args, range); }
void matmul_of_a_format_nobody_makes(const MatmulArgs& args, RowRange range) { matmul<Fault::kNone>(args, range); }

}  // namespace olx::kernels::broken
