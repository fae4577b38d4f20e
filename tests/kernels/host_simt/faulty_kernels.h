#pragma once
// Kernels with one mistake each, of the kinds that a device runs in silence, and what the report of
// each has to say. Their sound twins differ by the mistake alone. Args are AddArgs: a is read, y
// written, a block a token.

#include "kernels/simt/elementwise.h"

namespace olx::kernels::simt {

// Where threads leave sums for others: what all kernels here do.
template <typename Body>
struct TestKernel {
  template <int kWave>
  static Grid grid(const AddArgs&, RowRange range) {
    return {range.size(), 128};
  }
  template <Simt S>
  static constexpr void run(S& s, const AddArgs& args, RowRange range) {
    const int64_t token = range.from + s.block();
    row_of(args.y, token)[s.thread()] = Body::value(s, row_of(args.a, token)[s.thread()]);
  }
};

struct Slots;

// Each thread hands its value to the one kBy behind it; kBy 1 finds the reader before the writer,
// 127 the other way round.
template <bool kHasBarrier, int kBy>
struct PassOn {
  template <Simt S>
  static constexpr float value(S& s, float x) {
    auto slots = s.template shared<Slots, float, 128>();
    slots.store(s.thread(), 0.0f);
    s.barrier();
    slots.store(s.thread(), x);
    if constexpr (kHasBarrier) s.barrier();
    return slots.load((s.thread() + kBy) % s.n_threads());
  }
};

// The same with the slots used a second time.
template <bool kHasBarrier>
struct PassOnTwice {
  template <Simt S>
  static constexpr float value(S& s, float x) {
    auto slots = s.template shared<Slots, float, 128>();
    slots.store(s.thread(), x);
    s.barrier();
    x = slots.load((s.thread() + 1) % s.n_threads());
    if constexpr (kHasBarrier) s.barrier();
    slots.store(s.thread(), x);
    s.barrier();
    return slots.load((s.thread() + 1) % s.n_threads());
  }
};

// Two readers of a wave, then one of them writes.
template <bool kHasBarrier>
struct ReadersThenWriter {
  template <Simt S>
  static constexpr float value(S& s, float x) {
    auto slots = s.template shared<Slots, float, 1>();
    if (s.thread() == 0) slots.store(0, x);
    s.barrier();
    const float first = s.lane() < 2 ? slots.load(0) : 0.0f;
    if constexpr (kHasBarrier) s.barrier();
    if (s.thread() == 1) slots.store(0, first);
    s.barrier();
    return first;
  }
};

// Inside a wave a sync of the wave is enough, and has to be there.
template <bool kHasSync>
struct PassOnInWave {
  template <Simt S>
  static constexpr float value(S& s, float x) {
    auto slots = s.template shared<Slots, float, 128>();
    slots.store(s.thread(), x);
    if constexpr (kHasSync) s.wave_sync();
    return slots.load(s.wave() * S::kWave + (s.lane() ^ 1));
  }
};

// A wave sync orders nothing between waves.
struct PassOnWithWaveSync {
  template <Simt S>
  static constexpr float value(S& s, float x) {
    auto slots = s.template shared<Slots, float, 128>();
    slots.store(s.thread(), x);
    s.wave_sync();
    return slots.load((s.thread() + S::kWave) % s.n_threads());
  }
};

struct AllWriteOne {
  template <Simt S>
  static constexpr float value(S& s, float x) {
    auto slots = s.template shared<Slots, float, 1>();
    slots.store(0, 1.0f);  // the same value, and still undefined
    s.barrier();
    return x;
  }
};

template <int kFirst>  // 1: lane 0's slot is never written
struct ReadsSlotZero {
  template <Simt S>
  static constexpr float value(S& s, float) {
    auto slots = s.template shared<Slots, float, 128>();
    if (s.thread() >= kFirst) slots.store(s.thread(), 1.0f);
    s.barrier();
    return slots.load(0);
  }
};

template <int kOffset>  // 1: the last thread reads past the end; -1: the first before the beginning
struct ReadsAt {
  template <Simt S>
  static constexpr float value(S& s, float x) {
    auto slots = s.template shared<Slots, float, 128>();
    slots.store(s.thread(), x);
    s.barrier();
    return slots.load(s.thread() + kOffset);
  }
};

struct WritesPastTheEnd {
  template <Simt S>
  static constexpr float value(S& s, float x) {
    s.template shared<Slots, float, 127>().store(s.thread(), x);
    return x;
  }
};

struct BarrierInABranch {
  template <Simt S>
  static constexpr float value(S& s, float x) {
    if (s.thread() != 5) s.barrier();
    return x;
  }
};

struct TwoBarriersForOne {
  template <Simt S>
  static constexpr float value(S& s, float x) {
    if (s.thread() < 64) {
      s.barrier();
    } else {
      s.barrier();
    }
    return x;
  }
};

struct BarrierAgainstShuffle {
  template <Simt S>
  static constexpr float value(S& s, float x) {
    if (s.wave() == 1 && s.lane() == 3) s.barrier();
    return s.shuffle_xor(x, 1);
  }
};

struct ShuffleOfHalfAWave {
  template <Simt S>
  static constexpr float value(S& s, float x) {
    if (s.lane() < S::kWave / 2) return s.shuffle_xor(x, 1);
    return x;
  }
};

struct ReductionsInBranches {
  template <Simt S>
  static constexpr float value(S& s, float x) {
    float values[1] = {x};
    if (s.lane() % 2 == 0) {
      s.reduce_add(values);
    } else {
      s.reduce_max(values);
    }
    return values[0];
  }
};

struct ShuffleOutsideTheWave {
  template <Simt S>
  static constexpr float value(S& s, float x) {
    return s.shuffle_xor(x, S::kWave);
  }
};

struct TooMuchSharedMemory {
  template <Simt S>
  static constexpr float value(S& s, float x) {
    s.template shared<Slots, float, kMaxSharedBytes / 4>();
    s.template shared<Slots, float, 1>();
    return x;
  }
};

}  // namespace olx::kernels::simt
