#include "bench/roofline.h"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <stdexcept>
#include <thread>
#include <vector>

#include "bench/statistics.h"

namespace olx::bench {
namespace {

constexpr int kPasses = 8;

// Eight independent sums, so that loads and not additions are what limits.
uint64_t sum_words(const uint64_t* words, size_t n) {
  uint64_t sums[8] = {};
  for (size_t i = 0; i + 8 <= n; i += 8)
    for (size_t j = 0; j < 8; ++j) sums[j] += words[i + j];
  uint64_t total = 0;
  for (uint64_t sum : sums) total += sum;
  return total;
}

}  // namespace

double read_bandwidth_gbps(int n_threads, uint64_t size_bytes) {
  void* memory = ::mmap(nullptr, size_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::runtime_error("cannot map the memory for the bandwidth measurement");
  ::madvise(memory, size_bytes, MADV_HUGEPAGE);
  std::memset(memory, 1, size_bytes);
  const auto* words = static_cast<const uint64_t*>(memory);
  const size_t n_words = size_bytes / 8, share = n_words / static_cast<size_t>(n_threads);
  std::atomic<uint64_t> sink{0};
  double best = 0;
  for (int pass = 0; pass < kPasses; ++pass) {
    const double start = now_seconds();
    {
      std::vector<std::jthread> threads;
      for (int t = 0; t < n_threads; ++t)
        threads.emplace_back([&, t] { sink += sum_words(words + static_cast<size_t>(t) * share, share); });
    }
    best = std::max(best, static_cast<double>(share * static_cast<size_t>(n_threads) * 8) / (now_seconds() - start) / 1e9);
  }
  ::munmap(memory, size_bytes);
  return best;
}

}  // namespace olx::bench
