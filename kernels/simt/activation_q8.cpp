#include "kernels/simt/activation_q8.h"

namespace olx::kernels {
namespace {

void decode(const ActivationView& from, int64_t token, float* x) {
  const simt::Q8Matrix matrix = simt::q8_matrix(from);
  for (int64_t col = 0; col < from.n_cols; ++col)
    x[col] = *matrix.scale_of(token, col / 32) *
             static_cast<float>(matrix.codes_of(token, col / 32)[col % 32]);
}

}  // namespace

// Rounding to the nearest code errs by half a step of max|x| / 127; the rest is the rounding of d
// itself.
const ActivationFormat kActivationSimtQ8{"simt_q8", simt::q8_size_bytes, decode,
                                         0.5 / 127 * (1 + 1e-5), 32};

}  // namespace olx::kernels
