#pragma once
// PCG32 (O'Neill 2014, pcg-random.org): small, fast, and the same numbers on every machine. Used by the sampler.

#include <cstdint>

namespace olx::engine {

class Rng {
 public:
  explicit Rng(uint64_t seed) {
    next();
    state_ += seed;
    next();
  }
  uint32_t next() {
    const uint64_t old = state_;
    state_ = old * 6364136223846793005ull + kIncrement;
    const auto shifted = static_cast<uint32_t>(((old >> 18u) ^ old) >> 27u);
    const auto turn = static_cast<uint32_t>(old >> 59u);
    return (shifted >> turn) | (shifted << ((32 - turn) & 31u));
  }
  // In [0, 1), 53 bits.
  double uniform() {
    const uint64_t high = next() >> 5, low = next() >> 6;
    return static_cast<double>(high * 67108864ull + low) * 0x1p-53;
  }

 private:
  static constexpr uint64_t kIncrement = 1442695040888963407ull;
  uint64_t state_ = 0;
};

}  // namespace olx::engine
