#pragma once
// Lanes of AVX2 with AVX-VNNI: what cpu/panel_formats.h, panel_dot.h and panel_block.h are written in.

#include "kernels/cpu/avx2/ymm_lanes.h"

namespace olx::kernels::cpu {
namespace {

struct Lanes : YmmLanes {
  static constexpr int kLargestOffset = 128;  // vpdpbusd: any unsigned byte
  static constexpr int kTileColumns = 5;
  static constexpr int kTileColumns16 = 5;
  static constexpr int64_t kPrefetchBytes = 2048;
  static Ints dot(Ints sums, Bytes w, Bytes a) { return _mm256_dpbusd_avx_epi32(sums, w, a); }
};

}  // namespace
}  // namespace olx::kernels::cpu

#include "kernels/cpu/dot_products.h"
