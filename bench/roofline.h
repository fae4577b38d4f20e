#pragma once
// The machine's own limits, measured in the same run as what is held against them. A multiply-add counts as two
// operations everywhere in the bench.

#include <boost/json/object.hpp>
#include <cstdint>
#include <string>
#include <vector>

#include "kernels/api/backend.h"

namespace olx::bench {

struct Peak {
  std::string name, kind, unit;  // as PeakLoop has them (peaks.h)
  kernels::Features features = 0;
  double gops_1 = 0;  // one thread
  double gops_n = 0;  // n_threads
};

struct ReadSpeed {
  double gbps_1 = 0, gbps_n = 0;
};

struct Roofline {
  int n_threads = 1;
  ReadSpeed plain;           // memory on pages of 4 KiB
  ReadSpeed large;           // memory on pages of 2 MiB, where the system gives them
  bool has_large_pages = false;
  ReadSpeed cache;           // 256 KiB a thread, over and over
  std::vector<Peak> peaks;

  // The best of a kind ("int8", "f32") that kernels with these features can use; of f32 where there is none of int8.
  const Peak& best(const std::string& kind, kernels::Features features) const;
  double gbps() const { return large.gbps_n > plain.gbps_n ? large.gbps_n : plain.gbps_n; }
};

// Takes about two seconds and 512 MiB.
Roofline measure_roofline(int n_threads);
boost::json::object to_json(const Roofline& roofline);

// `ollamax-bench roofline`; 0 threads: one a physical core.
int run_roofline(int n_threads, bool is_json);

}  // namespace olx::bench
