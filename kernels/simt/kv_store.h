#pragma once
// Rows of the KV cache: where they lie, how an element is read, and writing those of a step.

#include <type_traits>

#include "gguf/blocks.h"
#include "kernels/simt/codes.h"
#include "kernels/simt/quantize.h"

namespace olx::kernels::simt {

// An element of a cached row. F32 and F16 are the values of codes.h.
struct ValuesQ8_0 {
  template <Simt S>
  static constexpr float load(const void* row, int64_t col) {
    const gguf::BlockQ8_0& block = static_cast<const gguf::BlockQ8_0*>(row)[col / 32];
    return S::from_f16(block.d) * static_cast<float>(block.qs[col % 32]);
  }
};

template <typename Type>
constexpr int64_t kv_row_bytes(int64_t head_dim) {
  if constexpr (requires { Type::kBytes; })
    return head_dim * Type::kBytes;
  else
    return head_dim / 32 * static_cast<int64_t>(sizeof(gguf::BlockQ8_0));
}

// The row of a kv head at a position of a sequence; plane is kv.k or kv.v.
template <typename Type>
constexpr uint8_t* kv_row(const KvView& kv, void* plane, int64_t sequence, int64_t position,
                          int64_t kv_head) {
  // In 32 bits, as a position has: a division of 64 is a loop on a device.
  const auto at = static_cast<uint32_t>(position), n = static_cast<uint32_t>(kv.page_tokens);
  const int64_t page = kv.block_table[sequence * kv.max_blocks + at / n];
  const int64_t row = (page * kv.n_kv_heads + kv_head) * kv.page_tokens + at % n;
  return static_cast<uint8_t*>(plane) + row * kv_row_bytes<Type>(kv.head_dim);
}

// Column `col` of a row, from each lane that is active: neighbouring lanes have neighbouring columns, the first of 32 one
// that 32 divides; and of Q8_0 all lanes of a wave come here together, inactive ones with 0.
template <typename Type, Simt S>
constexpr void store_column(S& s, void* row, int64_t col, float value, bool is_active) {
  if constexpr (std::is_same_v<Type, ValuesQ8_0>) {
    const float largest = max_of_32(s, value < 0 ? -value : value);
    if (!is_active) return;
    gguf::BlockQ8_0& block = static_cast<gguf::BlockQ8_0*>(row)[col / 32];
    block.qs[col % 32] = static_cast<int8_t>(code_of<S>(value, inverse_step(largest)));
    if (col % 32 == 0) block.d = S::to_f16(largest / 127.0f);
  } else if constexpr (Type::kBytes == 4) {
    if (is_active) static_cast<float*>(row)[col] = value;
  } else {
    if (is_active) static_cast<uint16_t*>(row)[col] = S::to_f16(value);
  }
}

// A block a token, a thread a column.
template <typename Type>
struct KvStore {
  template <int kWave>
  static Grid grid(const KvStoreArgs&, RowRange range) {
    return {range.size(), kRowThreads};
  }
  template <Simt S>
  static constexpr void run(S& s, const KvStoreArgs& args, RowRange range) {
    const int64_t token = range.from + s.block();
    store(s, args.kv, args.kv.k, args.tokens[token], row_of(args.k, token));
    store(s, args.kv, args.kv.v, args.tokens[token], row_of(args.v, token));
  }

 private:
  template <Simt S>
  static constexpr void store(S& s, const KvView& kv, void* plane, TokenSlot slot, const float* x) {
    const int64_t n_cols = kv.n_kv_heads * kv.head_dim;
    for (int64_t first = 0; first < n_cols; first += s.n_threads()) {
      const int64_t col = first + s.thread();
      const bool is_active = col < n_cols;
      void* row = kv_row<Type>(kv, plane, slot.sequence, slot.position, col / kv.head_dim);
      store_column<Type>(s, row, col % kv.head_dim, is_active ? x[col] : 0.0f, is_active);
    }
  }
};

}  // namespace olx::kernels::simt
