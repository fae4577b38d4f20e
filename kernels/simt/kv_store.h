#pragma once
// Rows of the KV cache: where they lie, how an element is read, and writing those of a step.

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

// A block a token. Rows::store(s, kv, plane, slot, x) writes what all kv heads of a token have.
template <typename Rows>
struct KvStore {
  template <int kWave>
  static Grid grid(const KvStoreArgs&, RowRange range) {
    return {range.size(), kRowThreads};
  }
  template <Simt S>
  static constexpr void run(S& s, const KvStoreArgs& args, RowRange range) {
    const int64_t token = range.from + s.block();
    Rows::store(s, args.kv, args.kv.k, args.tokens[token], row_of(args.k, token));
    Rows::store(s, args.kv, args.kv.v, args.tokens[token], row_of(args.v, token));
  }
};

// F32 and F16: a thread an element.
template <typename Type>
struct RowsOfValues {
  template <Simt S>
  static constexpr void store(S& s, const KvView& kv, void* plane, TokenSlot slot, const float* x) {
    for (int64_t i = s.thread(); i < kv.n_kv_heads * kv.head_dim; i += s.n_threads()) {
      void* row = kv_row<Type>(kv, plane, slot.sequence, slot.position, i / kv.head_dim);
      if constexpr (Type::kBytes == 4)
        static_cast<float*>(row)[i % kv.head_dim] = x[i];
      else
        static_cast<uint16_t*>(row)[i % kv.head_dim] = S::to_f16(x[i]);
    }
  }
};

// Q8_0: thirty-two lanes a block.
struct RowsOfQ8_0 {
  template <Simt S>
  static constexpr void store(S& s, const KvView& kv, void* plane, TokenSlot slot, const float* x) {
    const int64_t n_blocks = kv.n_kv_heads * kv.head_dim / 32, blocks_of_head = kv.head_dim / 32;
    const int group = s.thread() / 32, n_groups = s.n_threads() / 32, column = s.lane() % 32;
    for (int64_t first = 0; first < n_blocks; first += n_groups) {
      const int64_t block = first + group;
      const bool is_active = block < n_blocks;  // the lanes of a wave stay together
      const float value = is_active ? x[block * 32 + column] : 0.0f;
      const float largest = max_of_32(s, value < 0 ? -value : value);
      if (!is_active) continue;
      void* row =
          kv_row<ValuesQ8_0>(kv, plane, slot.sequence, slot.position, block / blocks_of_head);
      gguf::BlockQ8_0& out = static_cast<gguf::BlockQ8_0*>(row)[block % blocks_of_head];
      out.qs[column] = static_cast<int8_t>(code_of<S>(value, inverse_step(largest)));
      if (column == 0) out.d = S::to_f16(largest / 127.0f);
    }
  }
};

}  // namespace olx::kernels::simt
