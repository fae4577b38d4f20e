#pragma once
// What the matrix instructions of NVIDIA and AMD do with the registers of a wave, element by
// element as their manuals state it and not by simt/tile.h, so that a wrong layout there gives
// wrong products. In `words`, word i of lane l is at [l * simt::kMaxReduce + i].

#include <cstdint>

namespace olx::kernels::host_simt {

// Two mma.m16n8k32.s32.s8.s8.s32: a lane has a0..a3, then b0, b1 of the first and of the second;
// becomes c0..c3 of the first and of the second.
void multiply_as_mma(uint32_t* words, int n, int wave_size);
// Two v_mfma_i32_16x16x16i8, of 16 columns each: a lane has the A of both, then the B of both;
// becomes the four sums.
void multiply_as_mfma(uint32_t* words, int n, int wave_size);

}  // namespace olx::kernels::host_simt
