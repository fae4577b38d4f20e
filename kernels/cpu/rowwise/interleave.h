#pragma once
// Transposing 16-bit elements by interleaving, as each simd.h that has vectors of them does. Internal linkage.

namespace olx::kernels::cpu {
namespace {

// x[i] holds eight elements of a row in each 128 bits: row i of eight there. Afterwards x[i] holds element i of the eight rows.
// S: low(a, b), high(a, b) of the eight elements of each 128 bits of a and of b in turn, of the first four or of the last.
template <typename S, typename Vector>
inline void transpose_eights(Vector (&x)[8]) {
  Vector t[8];
#pragma GCC unroll 3
  for (int step = 0; step < 3; ++step) {  // rows i and i + 4 in turn, then four, then all eight
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      t[2 * i] = S::low(x[i], x[i + 4]);
      t[2 * i + 1] = S::high(x[i], x[i + 4]);
    }
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) x[i] = t[i];
  }
}

}  // namespace
}  // namespace olx::kernels::cpu
