#pragma once
// The activation format "q8" of the integer matmul kernels: int8 codes with an f32 scale per 32 columns. Made by
// kQuantize, read by matmul rows of every instruction set. Plain constants and index arithmetic: kernels include it.
//
// Tokens are grouped by eight (the last group has what is left, N of them), and a group is stored block by block of 32
// columns, so that a kernel that multiplies one weight with N tokens reads one stream:
//   int8  q[8][N][4]   q[g][n][t] is the code of column 32 b + 4 g + t of token n
//   float d[N]         scale: x is about d * q, with d = max|x| / 127 over the block
//   int32 lo[N]        the sum of the codes of columns 0 .. 15 of the block
//   int32 hi[N]        the same for columns 16 .. 31
//   float all[N]       d (lo + hi)
// The sums serve weights with an offset, in integers, or with a minimum: sum x (w - m) = sum x w - m sum x.
// Scales are f32 and per 32 columns: with f16 scales, or one scale per 256, the error of the logits is visibly larger.

#include <cstdint>

#include "kernels/api/tensor_view.h"

namespace olx::kernels::cpu {

constexpr int64_t kQ8BlockCols = 32;
constexpr int64_t kQ8GroupTokens = 8;
constexpr int64_t kQ8BytesPerTokenBlock = 32 + 4 * 4;

// What a kernel reads of the token at `column` of a block of n_tokens tokens.
struct Q8Scales {
  const float* d;
  const int32_t* lo;
  const int32_t* hi;
  const float* all;
};
static inline Q8Scales q8_scales(const uint8_t* block, int64_t n_tokens, int64_t column) {
  const uint8_t* d = block + 32 * n_tokens + 4 * column;
  return {reinterpret_cast<const float*>(d), reinterpret_cast<const int32_t*>(d + 4 * n_tokens),
          reinterpret_cast<const int32_t*>(d + 8 * n_tokens), reinterpret_cast<const float*>(d + 12 * n_tokens)};
}
static inline void store_q8_scales(int8_t* block, int64_t n_tokens, int64_t column, float d, int32_t lo, int32_t hi) {
  int8_t* to = block + 32 * n_tokens + 4 * column;
  *reinterpret_cast<float*>(to) = d;
  *reinterpret_cast<int32_t*>(to + 4 * n_tokens) = lo;
  *reinterpret_cast<int32_t*>(to + 8 * n_tokens) = hi;
  *reinterpret_cast<float*>(to + 12 * n_tokens) = d * (static_cast<float>(lo) + static_cast<float>(hi));
}

// Byte offset of a group of tokens; every group before it is full.
static constexpr int64_t q8_group_offset(int64_t group, int64_t n_cols) {
  return group * kQ8GroupTokens * (n_cols / kQ8BlockCols) * kQ8BytesPerTokenBlock;
}
static constexpr int64_t q8_matrix_bytes(int64_t n_tokens, int64_t n_cols) {
  return n_tokens * (n_cols / kQ8BlockCols) * kQ8BytesPerTokenBlock;
}
static constexpr int64_t q8_group_size(int64_t group, int64_t n_tokens) {
  return n_tokens - group * kQ8GroupTokens < kQ8GroupTokens ? n_tokens - group * kQ8GroupTokens : kQ8GroupTokens;
}

// "q8_bf16": the tokens that are made one at a time in q8, for integer kernels, which wait for memory; those of a prompt,
// behind them from the next multiple of 64 bytes, as bfloat16 in the tiles that matrix units read:
//   bf16 x[ceil(n_prompt / 16)][n_cols / 32][16][32]   tile, block of columns, token, column; what is past the last token
//                                                      is not written
// Which way a token goes is decided by what it is (ActivationView::n_prompt) and by nothing else in the batch.
constexpr int64_t kBf16TileTokens = 16;
constexpr int64_t kBf16TileBytes = kBf16TileTokens * kQ8BlockCols * 2;

static constexpr int64_t bf16_tiles_offset(int64_t n_single, int64_t n_cols) {
  return (q8_matrix_bytes(n_single, n_cols) + 63) / 64 * 64;
}
// From the start of the tiles.
static constexpr int64_t bf16_token_offset(int64_t prompt_token, int64_t n_cols) {
  return prompt_token / kBf16TileTokens * (n_cols / kQ8BlockCols) * kBf16TileBytes +
         prompt_token % kBf16TileTokens * kQ8BlockCols * 2;
}

}  // namespace olx::kernels::cpu

namespace olx::kernels {
extern const ActivationFormat kActivationQ8;
// "q8_fine": x in q8, and behind it what that leaves over, in q8 again: 14 bits for twice the arithmetic.
extern const ActivationFormat kActivationQ8Fine;
extern const ActivationFormat kActivationQ8Bf16;
}  // namespace olx::kernels
