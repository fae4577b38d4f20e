#pragma once
// Keys and values of a step into the cache, written once over Simd. Internal linkage. q8_0 is in portable/ only: its
// encoder is gguf/quantize.h, so that a cache row and a file row are the same bytes.

#include <cstdint>

#include "kernels/api/args.h"

namespace olx::kernels::cpu {
namespace {

struct PutF32 {
  static constexpr int64_t kElemBytes = 4;
  static void put(const float* x, uint8_t* row, int64_t n) { __builtin_memcpy(row, x, static_cast<size_t>(4 * n)); }
};
struct PutF16 {
  static constexpr int64_t kElemBytes = 2;
  static void put(const float* x, uint8_t* row, int64_t n) {
    auto* out = reinterpret_cast<uint16_t*>(row);
    int64_t i = 0;
    for (; i + Simd::kLanes <= n; i += Simd::kLanes) Simd::store_f16(out + i, Simd::load(x + i));
    if (i < n) {
      uint16_t rest[Simd::kLanes];
      Simd::store_f16(rest, Simd::load_part(x + i, n - i));
      for (int64_t j = i; j < n; ++j) out[j] = rest[j - i];
    }
  }
};

template <typename Put>
inline void kv_store(const KvStoreArgs& args, RowRange range) {
  const KvView& kv = args.kv;
  const int64_t row_bytes = Put::kElemBytes * kv.head_dim;
  for (int64_t token = range.from; token < range.to; ++token) {
    const TokenSlot slot = args.tokens[token];
    const int64_t page = kv.block_table[slot.sequence * kv.max_blocks + slot.position / kv.page_tokens];
    for (int64_t head = 0; head < kv.n_kv_heads; ++head) {
      const int64_t row = (page * kv.n_kv_heads + head) * kv.page_tokens + slot.position % kv.page_tokens;
      Put::put(args.k.row(token) + head * kv.head_dim, static_cast<uint8_t*>(kv.k) + row * row_bytes, kv.head_dim);
      Put::put(args.v.row(token) + head * kv.head_dim, static_cast<uint8_t*>(kv.v) + row * row_bytes, kv.head_dim);
    }
  }
}

}  // namespace
}  // namespace olx::kernels::cpu
