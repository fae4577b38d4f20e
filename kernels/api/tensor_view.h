#pragma once
// Non-owning windows on memory that kernels read and write. Whoever allocated the Buffer owns it.

#include <array>
#include <cstddef>
#include <cstdint>

#include "gguf/dtype.h"

namespace olx::kernels {

using gguf::DType;

// [from, to) of an op's work units. What a unit is, args.h says under "shapes".
struct RowRange {
  int64_t from = 0;
  int64_t to = 0;
  int64_t size() const { return to - from; }
};

// How a weight matrix lies in memory when it is not the file's own row-major block order. A matmul row names the
// layout it wants; the loader calls `pack` once. Every layout is an invertible permutation of the file's bytes plus
// padding, so that an embedding lookup (and a test) can get a native row back.
struct WeightLayout {
  const char* name;      // "rows16"
  int64_t row_multiple;  // matmul work is split at multiples of it
  int64_t (*size_bytes)(DType dtype, int64_t n_rows, int64_t n_cols);
  // native: rows [range.from, range.to) in file order; packed: start of the whole packed matrix.
  // range.from is a multiple of row_multiple; a last range may end at n_rows.
  void (*pack)(DType dtype, int64_t n_rows, int64_t n_cols, const void* native, void* packed, RowRange range);
  void (*unpack_row)(DType dtype, int64_t n_rows, int64_t n_cols, const void* packed, int64_t row, void* native);
};

struct WeightView {
  const void* data = nullptr;
  DType dtype = DType::kF32;
  const WeightLayout* layout = nullptr;  // nullptr: the file's own order
  int64_t n_rows = 0;                    // output features
  int64_t n_cols = 0;                    // input features (contiguous in the file)
};

// A dense f32 matrix, row-major. row_stride_elems >= n_cols; rows need only f32 alignment.
struct MatrixView {
  float* data = nullptr;
  int64_t n_rows = 0;
  int64_t n_cols = 0;
  int64_t row_stride_elems = 0;
  float* row(int64_t i) const { return data + i * row_stride_elems; }
};

struct ActivationView;

// Activations as a matmul row wants them. kQuantize makes them from f32; n_tokens rows of n_cols elements.
struct ActivationFormat {
  const char* name;  // "f32", "q8"
  // Enough for any n_prompt. 0 where the matrix itself is passed (is_rows()) and no kQuantize node is needed.
  int64_t (*size_bytes)(int64_t n_tokens, int64_t n_cols);
  // Writes the n_cols elements of one token as f32: for the reference backend and tests. nullptr for "f32".
  void (*decode)(const ActivationView& from, int64_t token, float* x);
  // |x - decode(x)| <= step times the largest |x| among the block_elems columns around it. 0 for "f32".
  double step;
  int64_t block_elems;
  // A matmul that reads this format may take for a weight w what is within weight_step |w| of it.
  double weight_step = 0;
  // The first of so many tokens and the others share cache lines: two threads that encode some of them each hold each other up.
  int64_t tokens_together = 1;
};
extern const ActivationFormat kActivationF32;

// Whether activations of this format are the f32 rows themselves: "f32", and formats whose kernels
// encode what they read on their own (decode() then says what becomes of a row).
inline bool is_rows(const ActivationFormat& format) {
  return format.size_bytes(1, format.block_elems) == 0;
}

struct ActivationView {
  const void* data = nullptr;  // rows: f32 row-major [n_tokens, n_cols], stride row_stride_elems; others: as the format says
  const ActivationFormat* format = &kActivationF32;
  int64_t n_tokens = 0;
  int64_t n_cols = 0;
  int64_t row_stride_elems = 0;  // rows only
  int64_t n_prompt = 0;          // the last so many tokens belong to prompts: a format may encode them in another way
};

// One layer's pages of cached keys and values. k and v: [n_pages, n_kv_heads, page_tokens, head_dim], each row of
// head_dim elements encoded as dtype (kF32, kF16 or kQ8_0). block_table: [n_sequences, max_blocks] page indices; token
// p of sequence s lies in page block_table[s * max_blocks + p / page_tokens] at p % page_tokens.
struct KvView {
  void* k = nullptr;
  void* v = nullptr;
  DType dtype = DType::kF16;
  int64_t n_kv_heads = 0;
  int64_t head_dim = 0;
  int64_t page_tokens = 0;
  const int32_t* block_table = nullptr;
  int64_t max_blocks = 0;
};

// Where a token of the batch belongs.
struct TokenSlot {
  int32_t sequence = 0;  // row of the block table
  int32_t position = 0;  // position in its sequence, from 0
};

}  // namespace olx::kernels
