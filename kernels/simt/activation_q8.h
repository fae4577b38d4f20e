#pragma once
// The activation format "simt_q8" of the integer matmul kernels here: int8 codes with an f32 scale
// per 32 columns. The codes of a token are one run of bytes, so that a wave reads them in whole
// cache lines:
//   int8  q[n_tokens][n_cols]
//   float d[n_tokens][n_cols / 32]      x is about d * q, with d = max|x| / 127 over the 32 columns
//   float sums[n_tokens][n_cols / 16]   d times the sum of 16 codes: for weights with a minimum
// "simt_q8x2" has two such terms, the second of what the first leaves: q and d of all tokens twice, and then the sums of both.
// Plain index arithmetic: kernels include it.

#include <cstdint>

#include "kernels/api/tensor_view.h"

namespace olx::kernels {
extern const ActivationFormat kActivationSimtQ8;
extern const ActivationFormat kActivationSimtQ8x2;
// f32 rows that the kernels encode so themselves.
extern const ActivationFormat kActivationSimtQ8Rows;
}

namespace olx::kernels::simt {

struct Q8Matrix {
  int8_t* codes;
  float* scales;
  float* sums;
  int64_t n_cols;
  constexpr int8_t* codes_of(int64_t token, int64_t block) const {
    return codes + token * n_cols + block * 32;
  }
  constexpr float* scale_of(int64_t token, int64_t block) const {
    return scales + token * (n_cols / 32) + block;
  }
  constexpr float* sums_of(int64_t token, int64_t block) const {
    return sums + (token * (n_cols / 32) + block) * 2;
  }
};

template <int kTerms>
constexpr int64_t q8_size_bytes(int64_t n_tokens, int64_t n_cols) {
  return n_tokens * (n_cols / 32) * (kTerms * (32 + 4) + 2 * 4);
}

// 127 / largest; 0 for a block of subnormals, whose inverse would be infinite, and for one with an
// infinity.
constexpr float inverse_step(float largest) {
  return largest > 1e-35f && largest < 1e38f ? 127.0f / largest : 0.0f;
}

// The parts of a term of an encoded matrix, whose bytes may be written where x.data is memory of one's own. All terms have the
// same sums.
template <int kTerms>
constexpr Q8Matrix q8_matrix(const ActivationView& x, int term) {
  const int64_t n_codes = x.n_tokens * x.n_cols, n_scales = n_codes / 32;
  auto* codes = static_cast<int8_t*>(const_cast<void*>(x.data));
  auto* scales = static_cast<float*>(static_cast<void*>(codes + kTerms * n_codes));
  return {codes + term * n_codes, scales + term * n_scales, scales + kTerms * n_scales, x.n_cols};
}

}  // namespace olx::kernels::simt
