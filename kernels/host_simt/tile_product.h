#pragma once
// What the matrix instructions of NVIDIA and AMD do with the registers of a wave, element by
// element as their manuals state it and not by simt/tile.h, so that a wrong layout there gives
// wrong products. In `words`, word i of lane l is at [l * kMeetingWords + i].

#include <cstdint>

namespace olx::kernels::host_simt {

// Two mma.m16n8k32.s32.s8.s8.s32: a lane has a0..a3, then b0, b1 of the first and of the second;
// becomes c0..c3 of the first and of the second.
void multiply_as_mma(uint32_t* words, int n, int wave_size);
// Two v_mfma_i32_16x16x16i8, of 16 columns each: a lane has the A of both, then the B of both;
// becomes the four sums.
void multiply_as_mfma(uint32_t* words, int n, int wave_size);
// Two mma.m16n8k16.f32.f16.f16.f32: a lane has a0..a7 in four words, b0..b3 of the first and of the
// second, then c0..c3 of both; becomes d0..d3 of both. Sums are those of an A100 (Fasi et al. 2021,
// doi:10.7717/peerj-cs.330): of eight exact products and the sum before them, all aligned to the
// largest and cut off one bit behind f32's last, then cut off to f32. NOTE(unsure): one bit was
// found by experiment there; more would only be closer.
void multiply_f16_as_mma(uint32_t* words, int n, int wave_size);
// v_mfma_f32_16x16x16f16: a lane has A and B in two words each, then four sums. Added one by one,
// each rounded.
void multiply_f16_as_mfma(uint32_t* words, int n, int wave_size);

}  // namespace olx::kernels::host_simt
