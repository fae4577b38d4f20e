#pragma once
// The loops that find out what this machine can do: arithmetic on registers alone, and reading. One file an instruction
// set, with flags of its own (CMakeLists.txt); peaks.cpp calls what the processor has. Freestanding, as kernels are: an
// inline function compiled here could be linked for everyone.

#include <cstdint>

namespace olx::bench::isa {

// Adds up size_bytes (a multiple of 1024) at a multiple of 64 bytes, so that nothing but loads limits it.
uint64_t read_portable(const void* memory, int64_t size_bytes);
uint64_t read_avx2(const void* memory, int64_t size_bytes);
uint64_t read_avx512(const void* memory, int64_t size_bytes);

// n_steps steps of kChains independent multiply-adds each: enough chains to hide the latency of one.
inline constexpr int kChains = 12;
void f32_portable(int64_t n_steps);     // multiply, then add, 4 lanes
void f32_avx2(int64_t n_steps);         // fma, 8 lanes
void f32_avx512(int64_t n_steps);       // fma, 16 lanes
void f32_neon(int64_t n_steps);         // fma, 4 lanes
void int8_avx2(int64_t n_steps);        // vpmaddubsw + vpmaddwd + vpaddd, 32 bytes
void int8_avxvnni(int64_t n_steps);     // vpdpbusd, 32 bytes
void int8_avx512vnni(int64_t n_steps);  // vpdpbusd, 64 bytes
void int8_neondot(int64_t n_steps);     // sdot, 16 bytes
void int8_i8mm(int64_t n_steps);        // smmla, 16 bytes, each with two

// Matrix tiles of 16 x 16 sums over 64 bytes: kTileChains products a step. The caller has asked the system for them.
inline constexpr int kTileChains = 4;
void int8_amx(int64_t n_steps);
void bf16_amx(int64_t n_steps);

}  // namespace olx::bench::isa
