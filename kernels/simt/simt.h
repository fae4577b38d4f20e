#pragma once
// The machine that the kernels of this folder are written for: blocks of threads, in waves of
// S::kWave lanes. A policy S is a body of it: host_simt/lane.h runs it on the CPU with checks,
// cuda/simt_cuda.h and hip/simt_hip.h (with device_thread.h) are the devices. Used by kernels of
// this folder and by the tables that instantiate them; no vendor header, no #if.
//
// A kernel is a struct with two static functions:
//   template <int kWave> Grid grid(const Args&, RowRange)
//       on the host, which reads the small arrays of a plan (tokens): how many blocks, of how many
//       threads
//   template <Simt S> constexpr void run(S& s, const Args&, RowRange)
//       on the device: one thread
// Everything that runs on a device is constexpr: nvcc (--expt-relaxed-constexpr) and clang take
// such functions as device functions too, so that no macro has to say so.
//
// What S has, beside the constant kWave (32 or 64):
//   thread() n_threads() lane() wave() n_waves() block()
//       where this thread is; int, block() int64_t
//   shuffle_xor(x, mask)
//       x of lane() ^ mask, for int32_t and float
//   ballot(bit)
//       uint64_t: bit i is lane i's
//   reduce_add(values) reduce_max(values)
//       float (&)[n], n <= kMaxReduce: each replaced by its sum or maximum over the wave, for every
//       lane the same bits. Order: x[i] + x[i ^ mask] for the masks kWave / 2, ..., 2, 1
//   wave_sync() barrier()
//       what lanes of this wave, or threads of this block, did to shared memory before it, they see
//       after it
//   shared<Tag, T, n>()
//       n elements of T that the block shares: load(i), store(i, x). Tag is any type; the same
//       (Tag, T, n) is the same memory
//   atomic_add(&u32, x)
//       in global memory; returns what was there. What this thread wrote before is seen by whoever
//       sees the sum
//   fma(a, b, c)
//       a * b + c rounded once; nothing else is contracted
//   dot4(a, b, c)
//       c + the sum of the four products of signed bytes
//   TileLayout; multiply(rows, cols, sums) multiply_half(rows, cols, half, sums)
//       what a lane holds of a product of tiles (tile.h), and the product over all 32 columns, or
//       over the 16 of a half, added to the sums
//   multiply_f16(rows, cols, floats)
//       the same words as 16 columns of f16: products are exact, sums in f32, rounded or cut off as
//       the machine does it, and an element's bits depend on nothing but its row, column and sum
//   from_f16(bits) to_f16(x) exp(x) tanh(x) erfc(x) sqrt(x) round(x) (to even)
//       and pow cos sin log floor ceil of double
// All lanes of a wave reach each of the wave's operations together, all threads of a block each
// barrier: the host checks it.

#include <cstdint>
#include <utility>

#include "kernels/api/args.h"

namespace olx::kernels::simt {

struct Grid {
  int64_t n_blocks = 0;
  int n_threads = 0;  // a multiple of 64, at most kMaxThreads
};

constexpr int kMaxThreads = 256;
constexpr int kMaxReduce = 8;
constexpr int64_t kMaxSharedBytes = 48 << 10;  // what every device gives unasked

template <typename S>
concept Simt = (S::kWave == 32 || S::kWave == 64) &&
               requires(S s, float (&values)[kMaxReduce], uint32_t* counter) {
  s.thread() + s.n_threads() + s.lane() + s.wave() + s.n_waves() + s.block();
  s.shuffle_xor(int32_t{}, 1);
  s.ballot(true);
  s.reduce_add(values);
  s.reduce_max(values);
  s.wave_sync();
  s.barrier();
  s.template shared<int, float, 1>().store(0, 1.0f);
  s.atomic_add(counter, uint32_t{1});
  s.fma(0.0f, 0.0f, 0.0f);
  s.dot4(int32_t{}, int32_t{}, int32_t{});
};

// MatrixView::row() for device code.
constexpr float* row_of(const MatrixView& matrix, int64_t row) {
  return matrix.data + row * matrix.row_stride_elems;
}

constexpr float kInfinity = __builtin_huge_valf();

constexpr float larger(float a, float b) { return a > b ? a : b; }
constexpr int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }
constexpr int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

// f.operator()<0>() to f.operator()<kN - 1>(). For arrays of which a lane takes the element with its own number: in a loop a
// compiler makes that number the index, and the array memory instead of registers.
template <int kN, typename F>
constexpr void unrolled(F f) {
  [&]<int... i>(std::integer_sequence<int, i...>) { (f.template operator()<i>(), ...); }(
      std::make_integer_sequence<int, kN>());
}

// Sum and maximum over a block; every thread gets it. All threads call it together.
template <Simt S>
constexpr float block_sum(S& s, float value) {
  struct Slots;
  auto slots = s.template shared<Slots, float, kMaxThreads / S::kWave>();
  float sum[1] = {value};
  s.reduce_add(sum);
  s.barrier();  // an earlier sum has been read
  if (s.lane() == 0) slots.store(s.wave(), sum[0]);
  s.barrier();
  float total = 0;
  for (int i = 0; i < s.n_waves(); ++i) total += slots.load(i);
  return total;
}

template <Simt S>
constexpr float block_max(S& s, float value) {
  struct Slots;
  auto slots = s.template shared<Slots, float, kMaxThreads / S::kWave>();
  float most[1] = {value};
  s.reduce_max(most);
  s.barrier();
  if (s.lane() == 0) slots.store(s.wave(), most[0]);
  s.barrier();
  float total = slots.load(0);
  for (int i = 1; i < s.n_waves(); ++i) total = larger(total, slots.load(i));
  return total;
}

}  // namespace olx::kernels::simt
