#pragma once
// Addresses inside KV pages (KvView). Used by the reference ops, and by tests to look at what kernels wrote.

#include <cstddef>

#include "kernels/api/tensor_view.h"

namespace olx::kernels::reference {

inline int64_t kv_row_bytes(const KvView& kv) { return gguf::row_size_bytes(kv.dtype, kv.head_dim); }

// The encoded row of one kv head at a position of a sequence; `base` is kv.k or kv.v.
inline std::byte* kv_row(const KvView& kv, void* base, int64_t sequence, int64_t position, int64_t kv_head) {
  const int64_t page = kv.block_table[sequence * kv.max_blocks + position / kv.page_tokens];
  const int64_t row = (page * kv.n_kv_heads + kv_head) * kv.page_tokens + position % kv.page_tokens;
  return static_cast<std::byte*>(base) + row * kv_row_bytes(kv);
}

}  // namespace olx::kernels::reference
