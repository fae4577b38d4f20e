// kMatmul with activations in "q8_fine": twice the integer matmul, once for each term, over so few rows at a time that
// the second pass finds the weights in the second cache level. Memory traffic, which is what decoding waits for, does
// not grow. For the last matmul of a network, whose errors nothing averages out.
#include <cstdint>

#include "kernels/api/args.h"
#include "kernels/cpu/activation_q8.h"

namespace olx::kernels::cpu {
namespace {

constexpr int64_t kChunkBytes = 128 << 10;

template <void (*matmul)(const MatmulArgs&, RowRange)>
void matmul_two_terms(const MatmulArgs& args, RowRange range) {
  MatmulArgs first = args;
  first.x.format = &kActivationQ8;
  MatmulArgs second = first;
  second.x.data = static_cast<const uint8_t*>(args.x.data) + q8_matrix_bytes(args.x.n_tokens, args.x.n_cols);
  second.bias = nullptr;
  second.residual = args.y.data;
  const int64_t multiple = args.w.layout != nullptr ? args.w.layout->row_multiple : 1;
  const int64_t n_groups = kChunkBytes / (args.w.n_cols * multiple);  // about a byte a weight
  const int64_t step = (n_groups > 0 ? n_groups : 1) * multiple;
  for (int64_t from = range.from; from < range.to; from += step) {
    const RowRange rows{from, from + step < range.to ? from + step : range.to};
    matmul(first, rows);
    matmul(second, rows);
  }
}

}  // namespace

#define OLX_FINE(type)                                                     \
  void matmul_##type##_avx512(const MatmulArgs& args, RowRange range);     \
  void matmul_##type##_avx512_fine(const MatmulArgs& args, RowRange range) { \
    matmul_two_terms<&matmul_##type##_avx512>(args, range);                \
  }
OLX_FINE(q4_0)
OLX_FINE(q4_1)
OLX_FINE(q5_0)
OLX_FINE(q5_1)
OLX_FINE(q8_0)
OLX_FINE(q2_k)
OLX_FINE(q3_k)
OLX_FINE(q4_k)
OLX_FINE(q5_k)
OLX_FINE(q6_k)
OLX_FINE(iq4_nl)
OLX_FINE(iq4_xs)
OLX_FINE(mxfp4)
#undef OLX_FINE

}  // namespace olx::kernels::cpu
