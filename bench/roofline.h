#pragma once
// The machine's own limits, measured in the same run as what is held against them.

#include <cstdint>

namespace olx::bench {

// Streaming read by n_threads from size_bytes of memory on large pages (where the system gives them), in GB/s: the
// best of several passes.
double read_bandwidth_gbps(int n_threads, uint64_t size_bytes = 512ull << 20);

}  // namespace olx::bench
