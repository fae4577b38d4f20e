#pragma once
// kMatmul with activations in "q8_fine" (activation_q8.h): twice the integer matmul of an instruction set, once for each
// term, over so few rows at a time that the second pass finds the weights in the second cache level. Memory traffic,
// which is what decoding waits for, does not grow. For the last matmul of a network, whose errors nothing averages out.
// Included by the matmul_fine.cpp of each instruction set; internal linkage.

#include <cstdint>

#include "kernels/api/args.h"
#include "kernels/cpu/activation_q8.h"

namespace olx::kernels::cpu {
namespace {

constexpr int64_t kTwoTermsChunkBytes = 128 << 10;

template <void (*matmul)(const MatmulArgs&, RowRange)>
void matmul_two_terms(const MatmulArgs& args, RowRange range) {
  MatmulArgs first = args;
  first.x.format = &kActivationQ8;
  MatmulArgs second = first;
  second.x.data = static_cast<const uint8_t*>(args.x.data) + q8_matrix_bytes(args.x.n_tokens, args.x.n_cols);
  second.bias = nullptr;
  second.residual = args.y.data;
  const int64_t multiple = args.w.layout != nullptr ? args.w.layout->row_multiple : 1;
  const int64_t n_groups = kTwoTermsChunkBytes / (args.w.n_cols * multiple);  // about a byte a weight
  const int64_t step = (n_groups > 0 ? n_groups : 1) * multiple;
  for (int64_t from = range.from; from < range.to; from += step) {
    const RowRange rows{from, from + step < range.to ? from + step : range.to};
    matmul(first, rows);
    matmul(second, rows);
  }
}

}  // namespace

// matmul_q4_0_avx2_fine from matmul_q4_0_avx2, and so on for every type with integer kernels.
#define OLX_TWO_TERMS(type, isa)                                              \
  void matmul_##type##_##isa(const MatmulArgs& args, RowRange range);         \
  void matmul_##type##_##isa##_fine(const MatmulArgs& args, RowRange range) { \
    matmul_two_terms<&matmul_##type##_##isa>(args, range);                    \
  }
#define OLX_TWO_TERMS_OF_ALL_TYPES(isa) \
  OLX_TWO_TERMS(q4_0, isa)              \
  OLX_TWO_TERMS(q4_1, isa)              \
  OLX_TWO_TERMS(q5_0, isa)              \
  OLX_TWO_TERMS(q5_1, isa)              \
  OLX_TWO_TERMS(q8_0, isa)              \
  OLX_TWO_TERMS(q2_k, isa)              \
  OLX_TWO_TERMS(q3_k, isa)              \
  OLX_TWO_TERMS(q4_k, isa)              \
  OLX_TWO_TERMS(q5_k, isa)              \
  OLX_TWO_TERMS(q6_k, isa)              \
  OLX_TWO_TERMS(iq4_nl, isa)            \
  OLX_TWO_TERMS(iq4_xs, isa)            \
  OLX_TWO_TERMS(mxfp4, isa)

}  // namespace olx::kernels::cpu
