#include "kernels/simt/activation_q8.h"

#include <algorithm>
#include <cmath>

namespace olx::kernels {
namespace {

template <int kTerms>
void decode(const ActivationView& from, int64_t token, float* x) {
  for (int64_t col = 0; col < from.n_cols; ++col) {
    double sum = 0;
    for (int term = 0; term < kTerms; ++term) {
      const simt::Q8Matrix matrix = simt::q8_matrix<kTerms>(from, term);
      sum += double{*matrix.scale_of(token, col / 32)} * matrix.codes_of(token, col / 32)[col % 32];
    }
    x[col] = static_cast<float>(sum);
  }
}

int64_t no_size(int64_t, int64_t) { return 0; }

// What simt/quantize.h makes of a row, by the same steps in f32.
void decode_rows(const ActivationView& from, int64_t token, float* x) {
  const float* row = static_cast<const float*>(from.data) + token * from.row_stride_elems;
  for (int64_t first = 0; first < from.n_cols; first += 32) {
    float largest = 0;
    for (int64_t i = 0; i < 32; ++i) largest = std::max(largest, std::abs(row[first + i]));
    const float inverse = simt::inverse_step(largest);
    const float d = largest / 127.0f;
    for (int64_t i = 0; i < 32; ++i) {
      const float scaled = row[first + i] * inverse;
      x[first + i] = scaled >= -127.5f && scaled <= 127.5f ? d * std::nearbyint(scaled) : 0.0f;
    }
  }
}

constexpr double kStep = 0.5 / 127 * (1 + 1e-5);

}  // namespace

// Rounding to the nearest code errs by half a step of max|x| / 127; the rest is the rounding of d
// itself.
const ActivationFormat kActivationSimtQ8{"simt_q8", simt::q8_size_bytes<1>, decode<1>, kStep, 32};
// The second term errs by half a step of what the first leaves, at most half of its own step; then what f32 rounds.
const ActivationFormat kActivationSimtQ8x2{"simt_q8x2", simt::q8_size_bytes<2>, decode<2>, 0.5 / 127 * kStep + 0x1p-22, 32};
const ActivationFormat kActivationSimtQ8Rows{"simt_q8_rows", no_size, decode_rows, kStep, 32};

}  // namespace olx::kernels
