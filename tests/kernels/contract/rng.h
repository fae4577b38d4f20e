#pragma once
// Random values of contract tests. One seed a run, printed on failure and settable: OLLAMAX_TEST_SEED.

#include <cstdint>
#include <cstdlib>
#include <initializer_list>
#include <random>
#include <string_view>

namespace olx::kernels::contract {

inline uint64_t test_seed() {
  const char* text = std::getenv("OLLAMAX_TEST_SEED");
  return text != nullptr ? std::strtoull(text, nullptr, 0) : 20260801;
}

class Rng {
 public:
  // Same seed and name, same values: a failing case can be run alone.
  Rng(uint64_t seed, std::string_view name) {
    uint64_t hash = 14695981039346656037ull ^ seed;  // FNV-1a
    for (char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211ull;
    engine_.seed(hash);
  }
  uint64_t bits() { return engine_(); }
  int64_t below(int64_t n) { return static_cast<int64_t>(bits() % static_cast<uint64_t>(n)); }
  bool coin() { return (bits() & 1) != 0; }
  float uniform() {  // [-1, 1)
    return static_cast<float>(static_cast<int64_t>(bits() >> 40) - (1 << 23)) / static_cast<float>(1 << 23);
  }
  int64_t pick(std::initializer_list<int64_t> values) {
    return values.begin()[below(static_cast<int64_t>(values.size()))];
  }

 private:
  std::mt19937_64 engine_;
};

}  // namespace olx::kernels::contract
