#include "bench/roofline.h"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <barrier>
#include <boost/json.hpp>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <stdexcept>
#include <thread>

#include "bench/machine.h"
#include "bench/peaks.h"
#include "bench/statistics.h"
#include "kernels/cpu/features.h"

namespace olx::bench {
namespace {

constexpr int kPasses = 4;
constexpr double kPassSeconds = 0.01;
constexpr uint64_t kMemoryBytes = 512ull << 20;
constexpr uint64_t kCacheBytes = 256u << 10;
constexpr uint64_t kLargePageBytes = 2u << 20;

// Anonymous memory that is touched, on large or on small pages.
class Memory {
 public:
  Memory(uint64_t size_bytes, int advice) : mapped_bytes_(size_bytes + kLargePageBytes) {
    mapping_ = ::mmap(nullptr, mapped_bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapping_ == MAP_FAILED) throw std::runtime_error("cannot map the memory for the bandwidth measurement");
    data_ = reinterpret_cast<char*>((reinterpret_cast<uintptr_t>(mapping_) + kLargePageBytes - 1) / kLargePageBytes * kLargePageBytes);
    ::madvise(data_, size_bytes, advice);
    std::memset(data_, 1, size_bytes);
  }
  ~Memory() { ::munmap(mapping_, mapped_bytes_); }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  const char* data() const { return data_; }

 private:
  void* mapping_ = nullptr;
  char* data_ = nullptr;
  uint64_t mapped_bytes_;
};

uint64_t large_page_bytes() {
  std::ifstream file("/proc/self/smaps_rollup");
  for (std::string word; file >> word;)
    if (uint64_t kib = 0; word == "AnonHugePages:" && file >> kib) return kib * 1024;
  return 0;
}

// The shortest of kPasses runs of fn(thread) on n_threads threads that begin together: seconds until the last is done.
// A peak is what the machine can do, so what else it did meanwhile is left out.
template <typename Fn>
double shortest(int n_threads, const Fn& fn) {
  double start = 0, best = 1e9;
  std::barrier begin(n_threads, [&]() noexcept { start = now_seconds(); });
  std::barrier end(n_threads, [&]() noexcept { best = std::min(best, now_seconds() - start); });
  std::vector<std::jthread> threads;
  for (int t = 0; t < n_threads; ++t)
    threads.emplace_back([&, t] {
      for (int pass = 0; pass < kPasses; ++pass) {
        begin.arrive_and_wait();
        fn(t);
        end.arrive_and_wait();
      }
    });
  threads.clear();
  return best;
}

double read_gbps(const char* memory, uint64_t size_bytes, int n_threads, int n_repeats, bool is_shared) {
  const ReadLoop read = widest_read_loop();
  const uint64_t share = size_bytes / (is_shared ? static_cast<uint64_t>(n_threads) : 1) / 1024 * 1024;
  std::atomic<uint64_t> sink{0};
  const double seconds = shortest(n_threads, [&](int t) {
    for (int i = 0; i < n_repeats; ++i) sink += read(memory + static_cast<uint64_t>(t) * share, static_cast<int64_t>(share));
  });
  return static_cast<double>(share) * n_threads * n_repeats / seconds / 1e9;
}

ReadSpeed read_memory(int n_threads, int advice, bool* has_large_pages) {
  const uint64_t before = large_page_bytes();
  const Memory memory(kMemoryBytes, advice);
  if (has_large_pages != nullptr) *has_large_pages = large_page_bytes() >= before + kMemoryBytes / 2;
  return {read_gbps(memory.data(), kMemoryBytes, 1, 1, true), read_gbps(memory.data(), kMemoryBytes, n_threads, 1, true)};
}

ReadSpeed read_cache(int n_threads) {
  const Memory memory(kCacheBytes * static_cast<uint64_t>(n_threads), MADV_HUGEPAGE);
  constexpr int kRepeats = 1000;
  return {read_gbps(memory.data(), kCacheBytes, 1, kRepeats, false), read_gbps(memory.data(), kCacheBytes, n_threads, kRepeats, false)};
}

double gops(const PeakLoop& loop, int64_t n_steps, int n_threads) {
  const double seconds = shortest(n_threads, [&](int) { loop.run(n_steps); });
  return loop.ops_per_step * static_cast<double>(n_steps) * n_threads / seconds / 1e9;
}

Peak measure(const PeakLoop& loop, int n_threads) {
  int64_t n_steps = 1000;
  for (double seconds = 0; seconds < kPassSeconds; n_steps *= 2) {
    const double start = now_seconds();
    loop.run(n_steps);
    seconds = now_seconds() - start;
  }
  return {loop.name, loop.kind, loop.unit, loop.features, gops(loop, n_steps, 1), gops(loop, n_steps, n_threads)};
}

}  // namespace

const Peak& Roofline::best(const std::string& kind, kernels::Features features) const {
  const Peak* found = nullptr;
  for (const Peak& peak : peaks)
    if (peak.kind == kind && peak.unit != "amx" && (peak.features & ~features) == 0 &&
        (found == nullptr || peak.gops_n > found->gops_n))
      found = &peak;
  return found != nullptr ? *found : best("f32", features);  // the portable f32 loop runs everywhere
}

Roofline measure_roofline(int n_threads) {
  Roofline roofline;
  roofline.n_threads = n_threads;
  roofline.plain = read_memory(n_threads, MADV_NOHUGEPAGE, nullptr);
  roofline.large = read_memory(n_threads, MADV_HUGEPAGE, &roofline.has_large_pages);
  roofline.cache = read_cache(n_threads);
  for (const PeakLoop& loop : peak_loops()) roofline.peaks.push_back(measure(loop, n_threads));
  return roofline;
}

boost::json::object to_json(const Roofline& roofline) {
  const auto speed = [](const ReadSpeed& read) { return boost::json::object{{"gbps_1_thread", read.gbps_1}, {"gbps", read.gbps_n}}; };
  boost::json::array peaks;
  for (const Peak& peak : roofline.peaks)
    peaks.push_back({{"name", peak.name}, {"kind", peak.kind}, {"unit", peak.unit}, {"gops_1_thread", peak.gops_1}, {"gops", peak.gops_n}});
  return {{"n_threads", roofline.n_threads}, {"has_large_pages", roofline.has_large_pages}, {"read_plain_pages", speed(roofline.plain)},
          {"read_large_pages", speed(roofline.large)}, {"read_cache", speed(roofline.cache)}, {"peaks", std::move(peaks)}};
}

int run_roofline(int n_threads, bool is_json) {
  if (n_threads == 0) n_threads = kernels::cpu::n_physical_cores();
  const Roofline roofline = measure_roofline(n_threads);
  if (is_json) {
    boost::json::object report = to_json(roofline);
    report["cpu"] = cpu_name();
    std::puts(boost::json::serialize(report).c_str());
    return 0;
  }
  std::printf("ollamax-bench roofline\n\n- %s\n- the best of %d passes; a multiply-add is two operations\n\n", cpu_name().c_str(), kPasses);
  std::printf("| reading | 1 thread, GB/s | %d threads, GB/s |\n| --- | --- | --- |\n", n_threads);
  const auto line = [](const char* name, const ReadSpeed& read) { std::printf("| %s | %.1f | %.1f |\n", name, read.gbps_1, read.gbps_n); };
  line("memory, 4 KiB pages", roofline.plain);
  line(roofline.has_large_pages ? "memory, 2 MiB pages" : "memory, 2 MiB pages (refused by the system)", roofline.large);
  line("cache, 256 KiB a thread", roofline.cache);
  std::printf("\n| arithmetic | of | with | 1 thread, GOP/s | %d threads, GOP/s |\n| --- | --- | --- | --- | --- |\n", n_threads);
  for (const Peak& peak : roofline.peaks)
    std::printf("| %s | %s | %s | %.0f | %.0f |\n", peak.name.c_str(), peak.kind.c_str(), peak.unit.c_str(), peak.gops_1, peak.gops_n);
  return 0;
}

}  // namespace olx::bench
