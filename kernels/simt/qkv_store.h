#pragma once
// What becomes of q, k and v behind their products: norms of the heads of q and k, the rotation, and the rows of the
// cache. A wave a head, its lanes a column each: the other column of a rotated pair is read twice, so that no lane waits
// for another's, and a block of Q8_0 is 32 neighbouring lanes'.

#include "kernels/simt/kv_store.h"
#include "kernels/simt/norm.h"

namespace olx::kernels::simt {

constexpr int kQkvStoreThreads = 128;

template <typename Type>  // of the cache
struct QkvStore {
  template <int kWave>
  static Grid grid(const QkvStoreArgs& args, RowRange range) {
    return {range.size() * blocks_of_token<kWave>(args), kQkvStoreThreads};
  }

  template <Simt S>
  static constexpr void run(S& s, const QkvStoreArgs& args, RowRange range) {
    // In 32 bits: a division of 64 is a loop on a device.
    const auto block = static_cast<uint32_t>(s.block());
    const auto n_blocks = static_cast<uint32_t>(blocks_of_token<S::kWave>(args));
    const int64_t token = range.from + block / n_blocks;
    const int64_t head = int64_t{block % n_blocks} * s.n_waves() + s.wave();
    if (head >= n_heads(args)) return;  // the whole wave
    const int64_t n_q = args.n_heads, n_k = args.kv.n_kv_heads, dim = args.kv.head_dim;
    const int part = head < n_q ? 0 : head < n_q + n_k ? 1 : 2;
    const float* norm = part == 0 ? args.q_norm : part == 1 ? args.k_norm : nullptr;
    const float* x = row_of(args.x, token) + head * dim;
    float inverse = 1.0f;
    if (norm != nullptr) {
      float squares[1] = {0};
      for (int64_t i = s.lane(); i < dim; i += S::kWave) squares[0] += x[i] * x[i];
      s.reduce_add(squares);
      inverse = inverse_root<S>(squares[0], dim, args.norm_eps);
    }
    const Turn turn{row_of(args.table, token), args.table.n_cols / 2, args.is_neox};
    for (int64_t first = 0; first < dim; first += S::kWave) {
      const int64_t col = first + s.lane();
      const bool is_active = col < dim;  // the lanes of a wave stay together
      float value = 0;
      if (is_active) value = part < 2 ? turn.of(x, norm, inverse, col) : x[col];
      if (part == 0) {
        if (is_active) row_of(args.y, token)[head * dim + col] = value;
      } else {
        const int64_t kv_head = head - n_q - (part - 1) * n_k;
        const TokenSlot slot = args.tokens[token];
        void* row = kv_row<Type>(args.kv, part == 1 ? args.kv.k : args.kv.v, slot.sequence, slot.position, kv_head);
        store_column<Type>(s, row, col, value, is_active);
      }
    }
  }

 private:
  static constexpr int64_t n_heads(const QkvStoreArgs& args) { return args.n_heads + 2 * args.kv.n_kv_heads; }
  template <int kWave>
  static constexpr int64_t blocks_of_token(const QkvStoreArgs& args) {
    constexpr int64_t kWaves = kQkvStoreThreads / kWave;
    return (n_heads(args) + kWaves - 1) / kWaves;
  }

  struct Turn {
    const float* table;  // of the token
    int64_t n_pairs;
    bool is_neox;

    // Column `col` of a head, normalised and rotated.
    constexpr float of(const float* x, const float* norm, float inverse, int64_t col) const {
      const auto normalised = [&](int64_t i) { return norm != nullptr ? x[i] * inverse * norm[i] : x[i]; };
      if (col >= 2 * n_pairs) return normalised(col);
      const int64_t pair = is_neox ? (col < n_pairs ? col : col - n_pairs) : col / 2;
      const int64_t first = is_neox ? pair : 2 * pair, second = is_neox ? pair + n_pairs : first + 1;
      const float a = normalised(first), b = normalised(second);
      const float cosine = table[2 * pair], sine = table[2 * pair + 1];
      return col == first ? a * cosine - b * sine : a * sine + b * cosine;
    }
  };
};

}  // namespace olx::kernels::simt
