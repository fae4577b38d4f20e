#pragma once
// Rows of f32 to any block type and back, in plain scalar code. The decoder is bit-exact with the formulas in
// blocks.h; the encoder is a simple good one (round to the scale that fits), meant for tests, tools and KV rows.

#include <cstddef>
#include <cstdint>
#include <span>

#include "gguf/dtype.h"

namespace olx::gguf {

// Decodes n_elems elements (a multiple of the block) from src into dst[n_elems].
void dequantize_row(DType dtype, const void* src, float* dst, int64_t n_elems);
// Encodes; dst has row_size_bytes(dtype, n_elems) bytes.
void quantize_row(DType dtype, const float* src, void* dst, int64_t n_elems);

float f16_to_f32(uint16_t bits);
uint16_t f32_to_f16(float value);   // round to nearest even; overflow to infinity
float bf16_to_f32(uint16_t bits);
uint16_t f32_to_bf16(float value);  // round to nearest even

}  // namespace olx::gguf
