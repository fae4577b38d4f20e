#pragma once
// Lanes of AVX2: what cpu/panel_formats.h, panel_dot.h and panel_block.h are written in.

#include "kernels/cpu/avx2/ymm_lanes.h"

namespace olx::kernels::cpu {
namespace {

struct Lanes : YmmLanes {
  static constexpr int kLargestOffset = 63;  // vpmaddubsw adds two products in 16 bits: 2 * 127 * 127 fits
};

// vpmaddubsw adds two products of an unsigned code and an int8 activation in 16 bits, saturating,
// so sums of at most 32767 / (2 * 127 * kMaxCode) groups are kept in 16 bits before they are
// widened: 8 for 4-bit codes, 4 for 5 bits, 2 for 6. Formats with signed codes give |code| to one
// side and move the sign to the activation: 128 * 127 * 2 still fits, and every group is widened.
template <typename Format>
class Products {
 public:
  void add(int g, __m256i w, __m256i a) {
    const __m256i pairs = Format::kIsSigned ? _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(a, w)) : _mm256_maddubs_epi16(w, a);
    pairs_ = g % kStep == 0 ? pairs : _mm256_add_epi16(pairs_, pairs);
    in_this_order(pairs_);
    if (g % kStep != kStep - 1) return;
    const __m256i wide = _mm256_madd_epi16(pairs_, _mm256_set1_epi16(1));
    sums_ = g < kStep ? wide : _mm256_add_epi32(sums_, wide);
    in_this_order(sums_);
  }
  __m256i ints() const { return sums_; }

 private:
  // GCC 12 takes a sum of integers apart and adds its terms at the end; there are 16 registers, and most terms
  // went to the stack and back.
  static void in_this_order(__m256i& sum) { asm("" : "+x"(sum)); }

  static constexpr int kGroups = Format::kIsPer16 ? 4 : 8;
  static constexpr int kFitting = 32767 / (2 * 127 * Format::kMaxCode);
  static constexpr int kStep = kFitting >= kGroups ? kGroups : kFitting >= 4 ? 4 : kFitting >= 2 ? 2 : 1;
  __m256i pairs_;
  __m256i sums_;
};

}  // namespace
}  // namespace olx::kernels::cpu
