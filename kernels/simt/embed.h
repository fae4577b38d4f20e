#pragma once
// Rows of the embedding table. A block a token; a thread decodes 32 columns at a time, or one of a
// type without blocks.

#include "kernels/simt/codes.h"
#include "kernels/simt/elementwise.h"

namespace olx::kernels::simt {

inline bool accepts_native_table(const EmbedArgs& args) {
  return args.table.layout == nullptr && is_matrix_aligned(args.table);
}

template <typename Type>
struct EmbedCodes {
  template <int kWave>
  static Grid grid(const EmbedArgs&, RowRange range) {
    return {range.size(), kRowThreads};
  }
  template <Simt S>
  static constexpr void run(S& s, const EmbedArgs& args, RowRange range) {
    const int64_t token = range.from + s.block(), n_cols = args.table.n_cols;
    const auto* row =
        static_cast<const uint8_t*>(args.table.data) + args.ids[token] * row_bytes<Type>(n_cols);
    float* y = row_of(args.y, token);
    for (int64_t group = s.thread(); group < n_cols / 32; group += s.n_threads()) {
      const Codes codes = load_group<Type, S>(row, group);
      for (int i = 0; i < 32; ++i) y[group * 32 + i] = decoded(codes, i) * args.scale;
    }
  }
};

template <typename Type>
struct EmbedValues {
  template <int kWave>
  static Grid grid(const EmbedArgs&, RowRange range) {
    return {range.size(), kRowThreads};
  }
  template <Simt S>
  static constexpr void run(S& s, const EmbedArgs& args, RowRange range) {
    const int64_t token = range.from + s.block(), n_cols = args.table.n_cols;
    const auto* row =
        static_cast<const uint8_t*>(args.table.data) + args.ids[token] * n_cols * Type::kBytes;
    float* y = row_of(args.y, token);
    for (int64_t col = s.thread(); col < n_cols; col += s.n_threads())
      y[col] = Type::template load<S>(row, col) * args.scale;
  }
};

}  // namespace olx::kernels::simt
