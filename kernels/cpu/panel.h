#pragma once
// Panels: how weights lie in memory for the SIMD matmul kernels. R rows (16, 8 or 4: the lanes of an instruction set)
// are interleaved by 4-byte units, so that one vector load brings the codes of 4 columns of every row, and one
// activation dword serves all of them. Kernels include this for offsets; panel.cpp packs and unpacks.
//
// A matrix is a sequence of panels of R rows (the last padded with zero rows), a panel one of chunks of 256 columns (the last
// may have fewer). A kernel that reads panel after panel reads one stream of memory. A chunk holds, for its n_blocks blocks,
//   scales  [n_blocks][scale planes]       each plane [items][R] elements of 1 or 2 bytes
//   codes   [n_blocks][n_units][R][4]
// both padded to a multiple of 64 bytes.
// Planes and units of one row and block ("canonical row block"):
//   type    scale planes                     code bytes (units of 4)
//   Q4_0    d f16                            qs[16]
//   Q4_1    d f16, m f16                     qs[16]
//   Q5_0    d f16                            qs[16], qh[4] with bit g of byte t belonging to column 4 g + t
//   Q5_1    d f16, m f16                     as Q5_0
//   Q8_0    d f16                            qs[32], each xor 0x80 (unsigned codes)
//   IQ4_NL  d f16                            qs[16]
//   MXFP4   e u8                             qs[16]
//   Q2_K    d f16, dmin f16, scales u8[16]   qs[64]
//   Q3_K    d f16, sc u8[16] (6 bits each)   hmask[32], qs[64]
//   Q4_K    d f16, dmin f16, u8[8] sc + 64 (mn % 4), u8[4] two of mn / 4   qs[128]
//   Q5_K    as Q4_K                          qh[32], qs[128]
//   Q6_K    d f16, sc i8[16]                 qh[32], ql[64], qh[32], ql[64]: half by half
//   IQ4_XS  d f16, ls u8[8] (6 bits each)    qs[128]
// F32, F16 and BF16 have no scales; their unit is one element: [n_cols][R].
// Only the 6-bit scales of Q3_K and IQ4_XS grow (110 -> 114, 136 -> 138 bytes a row block); everything else keeps its size.

#include <cstdint>

#include "kernels/api/tensor_view.h"

namespace olx::kernels::cpu {

struct PanelShape {
  int64_t block_elems = 0;  // columns of a block
  int64_t scale_bytes = 0;  // of one row and block
  int64_t code_bytes = 0;   // of one row and block
  int64_t unit_bytes = 4;   // interleaved unit
};

static constexpr PanelShape panel_shape(DType dtype) {
  switch (dtype) {
    case DType::kQ4_0: return {32, 2, 16};
    case DType::kQ4_1: return {32, 4, 16};
    case DType::kQ5_0: return {32, 2, 20};
    case DType::kQ5_1: return {32, 4, 20};
    case DType::kQ8_0: return {32, 2, 32};
    case DType::kIQ4_NL: return {32, 2, 16};
    case DType::kMXFP4: return {32, 1, 16};
    case DType::kQ2_K: return {256, 20, 64};
    case DType::kQ3_K: return {256, 18, 96};
    case DType::kQ4_K: return {256, 16, 128};
    case DType::kQ5_K: return {256, 16, 160};
    case DType::kQ6_K: return {256, 18, 192};
    case DType::kIQ4_XS: return {256, 10, 128};
    case DType::kF32: return {1, 0, 4, 4};
    case DType::kF16: return {1, 0, 2, 2};
    case DType::kBF16: return {1, 0, 2, 2};
    default: return {};
  }
}

constexpr int64_t kChunkCols = 256;

// Of a chunk of n_cols columns: where its codes begin, and its size.
static constexpr int64_t chunk_scale_bytes(PanelShape shape, int64_t n_cols, int64_t n_lanes) {
  return (n_cols / shape.block_elems * shape.scale_bytes * n_lanes + 63) / 64 * 64;
}
static constexpr int64_t chunk_size_bytes(PanelShape shape, int64_t n_cols, int64_t n_lanes) {
  return chunk_scale_bytes(shape, n_cols, n_lanes) + (n_cols / shape.block_elems * shape.code_bytes * n_lanes + 63) / 64 * 64;
}
static constexpr int64_t panel_size_bytes(PanelShape shape, int64_t n_cols, int64_t n_lanes) {
  return n_cols / kChunkCols * chunk_size_bytes(shape, kChunkCols, n_lanes) + chunk_size_bytes(shape, n_cols % kChunkCols, n_lanes);
}

}  // namespace olx::kernels::cpu

namespace olx::kernels {
extern const WeightLayout kLayoutRows16;  // AVX-512
extern const WeightLayout kLayoutRows8;   // AVX2
extern const WeightLayout kLayoutRows4;   // NEON
}  // namespace olx::kernels
