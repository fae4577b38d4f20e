#pragma once
// Lanes of AVX2 with AVX-VNNI: what cpu/panel_formats.h, panel_dot.h and panel_block.h are written in.

#include "kernels/cpu/avx2/ymm_lanes.h"

namespace olx::kernels::cpu {
namespace {

struct Lanes : YmmLanes {
  static constexpr int kLargestOffset = 128;  // vpdpbusd: any unsigned byte
  static constexpr int kTileColumns = 5;
  static constexpr int64_t kPrefetchBytes = 2048;
};

template <typename Format>
class Products {
 public:
  void add(int g, __m256i w, __m256i a) { sums_ = _mm256_dpbusd_avx_epi32(g == 0 ? _mm256_setzero_si256() : sums_, w, a); }
  __m256i ints() const { return sums_; }

 private:
  __m256i sums_;
};

}  // namespace
}  // namespace olx::kernels::cpu
