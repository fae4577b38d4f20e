#include "kernels/cpu/panel.h"

#include <algorithm>
#include <cstring>

#include "gguf/blocks.h"
#include "gguf/bytes.h"
#include "gguf/check.h"
#include "gguf/scales.h"

namespace olx::kernels {
namespace cpu {
namespace {

using namespace olx::gguf;

// The canonical form of one row's block: scale planes and codes, in the order panel.h lists.
struct RowBlock {
  uint8_t scales[20];
  uint8_t codes[192];
};

// Widths of the scale elements in order, for the interleaving of planes.
struct ScaleWidths {
  int n_halves;  // leading 2-byte elements
  int n_bytes;   // then single bytes
};
constexpr ScaleWidths scale_widths(DType dtype) {
  switch (dtype) {
    case DType::kQ4_1:
    case DType::kQ5_1: return {2, 0};
    case DType::kMXFP4: return {0, 1};
    case DType::kQ2_K: return {2, 16};
    case DType::kQ4_K:
    case DType::kQ5_K: return {2, 12};
    case DType::kQ3_K:
    case DType::kQ6_K: return {1, 16};
    case DType::kIQ4_XS: return {1, 8};
    case DType::kF32:
    case DType::kF16:
    case DType::kBF16: return {0, 0};
    default: return {1, 0};
  }
}

// Exchanges the bits whose numbers have bit p but not bit q, `shift` = 2^p - 2^q above those that have q but not p, `low`.
constexpr uint32_t exchange(uint32_t bits, int shift, uint32_t low) {
  const uint32_t differing = (bits ^ bits >> shift) & low;
  return bits ^ differing ^ differing << shift;
}
// Bit 4 g + t of the file's word <-> bit g of byte t: the two bits of t before the three of g.
constexpr uint32_t transpose_high_bits(uint32_t bits) {
  return exchange(exchange(exchange(exchange(bits, 14, 0xcccc), 7, 0x00aa00aa), 2, 0x0c0c0c0c), 1, 0x22222222);
}
constexpr uint32_t untranspose_high_bits(uint32_t bits) {
  return exchange(exchange(exchange(exchange(bits, 1, 0x22222222), 2, 0x0c0c0c0c), 7, 0x00aa00aa), 14, 0xcccc);
}

// Vectors of the compiler, as SSE2 and NEON have them: this file is compiled for every processor.
using Dwords = uint32_t __attribute__((vector_size(16)));

// The file's two halves and 12 bytes of 6-bit scales and minima of eight sub-blocks -> halves and 12 bytes (panel.h), four sub-blocks
// in a dword. In one store: what is loaded next is wider than a part, and would wait for parts to reach the cache.
inline void join_scales(const uint8_t* block, uint8_t* scales) {
  const uint32_t a = load<uint32_t>(block + 4), b = load<uint32_t>(block + 8), c = load<uint32_t>(block + 12);
  const uint32_t sc[2] = {a & 0x3f3f3f3f, (c & 0x0f0f0f0f) | (a >> 2 & 0x30303030)};
  const uint32_t mn[2] = {b & 0x3f3f3f3f, (c >> 4 & 0x0f0f0f0f) | (b >> 2 & 0x30303030)};
  uint32_t joined[2], high = 0;
  for (int i = 0; i < 2; ++i) {
    joined[i] = sc[i] | (mn[i] & 0x03030303) << 6;
    const uint32_t nibbles = mn[i] >> 2 & 0x0f0f0f0f, pairs = nibbles | nibbles >> 4;  // two in bytes 0 and 2
    high |= ((pairs & 0xff) | (pairs >> 8 & 0xff00)) << (16 * i);
  }
  store(scales, Dwords{load<uint32_t>(block), joined[0], joined[1], high});
}
void split_scales(const uint8_t* joined, uint8_t* packed) {
  uint8_t sc[8], mn[8];
  for (int s = 0; s < 8; ++s) {
    sc[s] = joined[s] & 63;
    mn[s] = static_cast<uint8_t>(joined[s] >> 6 | (joined[8 + s / 2] >> (4 * (s % 2)) & 15) << 2);
  }
  pack_scales_q4_k(sc, mn, packed);
}

// The file's 12 bytes of sixteen 6-bit scales -> a byte each, as gguf/scales.h has them, in one store.
inline void widen_scales(const uint8_t* packed, uint8_t* scales) {
  const uint32_t a = load<uint32_t>(packed), b = load<uint32_t>(packed + 4), c = load<uint32_t>(packed + 8);
  const Dwords low = Dwords{a, b, a >> 4, b >> 4} & 0x0f0f0f0f;
  store(scales, low | (Dwords{c << 4, c << 2, c, c >> 2} & 0x30303030));
}

// A block whose members are copied as they are: pairs of (native offset, canonical place), direction by is_packing.
inline void copy(uint8_t* native, uint8_t* canonical, size_t size_bytes, bool is_packing) {
  if (is_packing) std::memcpy(canonical, native, size_bytes);
  else std::memcpy(native, canonical, size_bytes);
}

// Native block <-> canonical form. One description serves both directions. Inlined: whoever packs knows the type, and copies of sizes
// that are known are a few instructions.
inline __attribute__((always_inline)) void convert(DType dtype, uint8_t* block, RowBlock& row, bool is_packing) {
  switch (dtype) {
    case DType::kQ4_0:
    case DType::kIQ4_NL:
      copy(block, row.scales, 2, is_packing);
      copy(block + 2, row.codes, 16, is_packing);
      return;
    case DType::kQ4_1:
      copy(block, row.scales, 4, is_packing);
      copy(block + 4, row.codes, 16, is_packing);
      return;
    case DType::kQ5_0:
    case DType::kQ5_1: {
      const size_t n_scales = dtype == DType::kQ5_0 ? 2 : 4;
      copy(block, row.scales, n_scales, is_packing);
      copy(block + n_scales + 4, row.codes, 16, is_packing);
      if (is_packing) store(row.codes + 16, transpose_high_bits(load<uint32_t>(block + n_scales)));
      else store(block + n_scales, untranspose_high_bits(load<uint32_t>(row.codes + 16)));
      return;
    }
    case DType::kQ8_0:
      copy(block, row.scales, 2, is_packing);
      copy(block + 2, row.codes, 32, is_packing);
      for (int i = 0; i < 32; ++i) (is_packing ? row.codes : block + 2)[i] ^= 0x80;
      return;
    case DType::kMXFP4:
      copy(block, row.scales, 1, is_packing);
      copy(block + 1, row.codes, 16, is_packing);
      return;
    case DType::kQ2_K:
      copy(block + 80, row.scales, 4, is_packing);
      copy(block, row.scales + 4, 16, is_packing);
      copy(block + 16, row.codes, 64, is_packing);
      return;
    case DType::kQ3_K:
      copy(block + 108, row.scales, 2, is_packing);
      if (is_packing) widen_scales(block + 96, row.scales + 2);
      else pack_scales_q3_k(row.scales + 2, block + 96);
      copy(block, row.codes, 96, is_packing);
      return;
    case DType::kQ4_K:
    case DType::kQ5_K: {
      if (is_packing) {
        join_scales(block, row.scales);
      } else {
        std::memcpy(block, row.scales, 4);
        split_scales(row.scales + 4, block + 4);
      }
      copy(block + 16, row.codes, dtype == DType::kQ4_K ? 128 : 160, is_packing);
      return;
    }
    case DType::kQ6_K:
      copy(block + 208, row.scales, 2, is_packing);
      copy(block + 192, row.scales + 2, 16, is_packing);
      for (int half = 0; half < 2; ++half) {
        copy(block + 128 + 32 * half, row.codes + 96 * half, 32, is_packing);
        copy(block + 64 * half, row.codes + 96 * half + 32, 64, is_packing);
      }
      return;
    case DType::kIQ4_XS: {
      copy(block, row.scales, 2, is_packing);
      uint8_t* ls = row.scales + 2;
      if (is_packing) {
        const auto high = load<uint16_t>(block + 2);
        for (int k = 0; k < 8; ++k)
          ls[k] = static_cast<uint8_t>(((block[4 + k / 2] >> (4 * (k % 2))) & 15) | (((high >> (2 * k)) & 3) << 4));
      } else {
        uint16_t high = 0;
        std::memset(block + 4, 0, 4);
        for (int k = 0; k < 8; ++k) {
          block[4 + k / 2] = static_cast<uint8_t>(block[4 + k / 2] | (ls[k] & 15) << (4 * (k % 2)));
          high = static_cast<uint16_t>(high | (ls[k] >> 4) << (2 * k));
        }
        store(block + 2, high);
      }
      copy(block + 8, row.codes, 128, is_packing);
      return;
    }
    case DType::kF32: return copy(block, row.codes, 4, is_packing);
    case DType::kF16:
    case DType::kBF16: return copy(block, row.codes, 2, is_packing);
    default: OLX_CHECK(false);
  }
}

// Spreads (or gathers) one row's block over its lane of the panel.
template <int kLanes>
void interleave(const PanelShape& shape, ScaleWidths widths, RowBlock& row, uint8_t* scales, uint8_t* codes, int64_t lane,
                bool is_packing) {
  for (int i = 0; i < widths.n_halves; ++i) copy(scales + (i * kLanes + lane) * 2, row.scales + 2 * i, 2, !is_packing);
  uint8_t* bytes = scales + widths.n_halves * kLanes * 2;
  for (int i = 0; i < widths.n_bytes; ++i) copy(bytes + i * kLanes + lane, row.scales + 2 * widths.n_halves + i, 1, !is_packing);
  if (shape.unit_bytes == 4) {  // every quantized type: a size that is known, for rows of an embedding that are looked up
    for (int64_t unit = 0; unit < shape.code_bytes / 4; ++unit) copy(codes + (unit * kLanes + lane) * 4, row.codes + unit * 4, 4, !is_packing);
    return;
  }
  for (int64_t unit = 0; unit < shape.code_bytes / shape.unit_bytes; ++unit)
    copy(codes + (unit * kLanes + lane) * shape.unit_bytes, row.codes + unit * shape.unit_bytes,
         static_cast<size_t>(shape.unit_bytes), !is_packing);
}

// Spreads the blocks of four rows whose units are dwords over lanes `lane` to `lane` + 3: the loop that loading a model spends its
// time in.
template <int kLanes, DType kDType>
inline void spread_four(const RowBlock (&rows)[4], uint8_t* scales, uint8_t* codes, int64_t lane) {
  constexpr PanelShape kShape = panel_shape(kDType);
  constexpr ScaleWidths kWidths = scale_widths(kDType);
  for (int i = 0; i < kWidths.n_halves; ++i) {
    uint64_t joined = 0;
    for (int k = 0; k < 4; ++k) joined |= static_cast<uint64_t>(load<uint16_t>(rows[k].scales + 2 * i)) << (16 * k);
    store(scales + (i * kLanes + lane) * 2, joined);
  }
  uint8_t* bytes = scales + kWidths.n_halves * kLanes * 2 + lane;
  for (int i = 0; i < kWidths.n_bytes; ++i) {
    uint32_t joined = 0;
    for (int k = 0; k < 4; ++k) joined |= static_cast<uint32_t>(rows[k].scales[2 * kWidths.n_halves + i]) << (8 * k);
    store(bytes + i * kLanes, joined);
  }
  constexpr int64_t kUnits = kShape.code_bytes / 4;
  for (int64_t unit = 0; unit + 4 <= kUnits; unit += 4) {  // a transposed square of four by four
    Dwords r[4];
    for (int k = 0; k < 4; ++k) r[k] = load<Dwords>(rows[k].codes + 4 * unit);
    const Dwords low01 = __builtin_shufflevector(r[0], r[1], 0, 4, 1, 5), high01 = __builtin_shufflevector(r[0], r[1], 2, 6, 3, 7);
    const Dwords low23 = __builtin_shufflevector(r[2], r[3], 0, 4, 1, 5), high23 = __builtin_shufflevector(r[2], r[3], 2, 6, 3, 7);
    uint8_t* to = codes + (unit * kLanes + lane) * 4;
    store(to, __builtin_shufflevector(low01, low23, 0, 1, 4, 5));
    store(to + kLanes * 4, __builtin_shufflevector(low01, low23, 2, 3, 6, 7));
    store(to + kLanes * 8, __builtin_shufflevector(high01, high23, 0, 1, 4, 5));
    store(to + kLanes * 12, __builtin_shufflevector(high01, high23, 2, 3, 6, 7));
  }
  if constexpr (kUnits % 4 != 0) {
    static_assert(kUnits % 4 == 1);
    constexpr int64_t kLast = kUnits - 1;
    for (int k = 0; k < 4; ++k) store(codes + (kLast * kLanes + lane + k) * 4, load<uint32_t>(rows[k].codes + kLast * 4));
  }
}

// Where block `b` of a panel lies.
struct PanelBlock {
  uint8_t* scales;
  uint8_t* codes;
};
template <int kLanes>
PanelBlock block_of(uint8_t* panel, const PanelShape& shape, int64_t n_cols, int64_t b) {
  const int64_t col = b * shape.block_elems, chunk_col = col / kChunkCols * kChunkCols;
  const int64_t in_chunk = (col - chunk_col) / shape.block_elems, chunk_cols = std::min(kChunkCols, n_cols - chunk_col);
  uint8_t* chunk = panel + chunk_col / kChunkCols * chunk_size_bytes(shape, kChunkCols, kLanes);
  return {chunk + in_chunk * shape.scale_bytes * kLanes,
          chunk + chunk_scale_bytes(shape, chunk_cols, kLanes) + in_chunk * shape.code_bytes * kLanes};
}

template <int kLanes>
int64_t size_bytes(DType dtype, int64_t n_rows, int64_t n_cols) {
  const PanelShape shape = panel_shape(dtype);
  OLX_CHECK(shape.block_elems > 0);
  return (n_rows + kLanes - 1) / kLanes * panel_size_bytes(shape, n_cols, kLanes);
}

// `native` holds the rows of the range only.
template <int kLanes, DType kDType>
void pack_as(int64_t n_rows, int64_t n_cols, const uint8_t* native, uint8_t* packed, RowRange range) {
  constexpr PanelShape kShape = panel_shape(kDType);
  const int64_t n_blocks = n_cols / kShape.block_elems, block_bytes = dtype_info(kDType).block_bytes;
  const int64_t row_bytes = n_blocks * block_bytes, panel_bytes = panel_size_bytes(kShape, n_cols, kLanes);
  for (int64_t first = range.from; first < range.to; first += kLanes) {
    uint8_t* panel = packed + first / kLanes * panel_bytes;
    const int64_t n_lanes = std::min<int64_t>(kLanes, n_rows - first);
    if (n_lanes < kLanes) std::memset(panel, 0, static_cast<size_t>(panel_bytes));
    for (int64_t b = 0; b < n_blocks; ++b) {
      const PanelBlock to = block_of<kLanes>(panel, kShape, n_cols, b);
      for (int64_t lane = 0; lane < n_lanes; lane += 4) {
        RowBlock rows[4];
        const int n_rows_here = static_cast<int>(std::min<int64_t>(4, n_lanes - lane));
        const uint8_t* block = native + (first - range.from + lane) * row_bytes + b * block_bytes;
        if (n_rows_here == 4 && kShape.unit_bytes == 4) {
          for (int k = 0; k < 4; ++k) convert(kDType, const_cast<uint8_t*>(block + k * row_bytes), rows[k], true);
          spread_four<kLanes, kDType>(rows, to.scales, to.codes, lane);
          continue;
        }
        for (int k = 0; k < n_rows_here; ++k) {
          convert(kDType, const_cast<uint8_t*>(block + k * row_bytes), rows[k], true);
          interleave<kLanes>(kShape, scale_widths(kDType), rows[k], to.scales, to.codes, lane + k, true);
        }
      }
    }
  }
}

template <int kLanes>
void pack(DType dtype, int64_t n_rows, int64_t n_cols, const void* native, void* packed, RowRange range) {
  OLX_CHECK(range.from % kLanes == 0 && range.to <= n_rows);
  const auto pack_types = [&]<DType... kDTypes>() {
    const auto pack_if = [&]<DType kDType>() {
      if (dtype != kDType) return false;
      pack_as<kLanes, kDType>(n_rows, n_cols, static_cast<const uint8_t*>(native), static_cast<uint8_t*>(packed), range);
      return true;
    };
    return (pack_if.template operator()<kDTypes>() || ...);
  };
  const bool is_known =
      pack_types.template operator()<DType::kQ4_0, DType::kQ4_1, DType::kQ5_0, DType::kQ5_1, DType::kQ8_0, DType::kIQ4_NL, DType::kMXFP4,
                                     DType::kQ2_K, DType::kQ3_K, DType::kQ4_K, DType::kQ5_K, DType::kQ6_K, DType::kIQ4_XS, DType::kF32,
                                     DType::kF16, DType::kBF16>();
  OLX_CHECK(is_known);
}

template <int kLanes>
void unpack_row(DType dtype, int64_t n_rows, int64_t n_cols, const void* packed, int64_t row_index, void* native) {
  const PanelShape shape = panel_shape(dtype);
  const ScaleWidths widths = scale_widths(dtype);
  OLX_CHECK(row_index >= 0 && row_index < n_rows);
  const int64_t block_bytes = dtype_info(dtype).block_bytes;
  auto* panel = static_cast<uint8_t*>(const_cast<void*>(packed)) + row_index / kLanes * panel_size_bytes(shape, n_cols, kLanes);
  for (int64_t b = 0; b < n_cols / shape.block_elems; ++b) {
    const PanelBlock from = block_of<kLanes>(panel, shape, n_cols, b);
    RowBlock row;
    interleave<kLanes>(shape, widths, row, from.scales, from.codes, row_index % kLanes, false);
    convert(dtype, static_cast<uint8_t*>(native) + b * block_bytes, row, false);
  }
}

}  // namespace
}  // namespace cpu

const WeightLayout kLayoutRows16{"rows16", 16, cpu::size_bytes<16>, cpu::pack<16>, cpu::unpack_row<16>};
const WeightLayout kLayoutRows8{"rows8", 8, cpu::size_bytes<8>, cpu::pack<8>, cpu::unpack_row<8>};
const WeightLayout kLayoutRows4{"rows4", 4, cpu::size_bytes<4>, cpu::pack<4>, cpu::unpack_row<4>};

}  // namespace olx::kernels
