#pragma once
// Which measuring loops (isa/loops.h) this processor and system can run. Used by roofline.cpp; one .cpp a processor
// family is built.

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/api/backend.h"

namespace olx::bench {

struct PeakLoop {
  std::string name;         // "vpdpbusd zmm"
  std::string kind;         // of the operands: "int8", "f32", "bf16"
  std::string unit;         // features a kernel needs to use it: "avx512", or "amx", which no kernel uses
  kernels::Features features = 0;
  double ops_per_step = 0;  // a multiply-add is two
  void (*run)(int64_t n_steps) = nullptr;
};

std::vector<PeakLoop> peak_loops();
using ReadLoop = uint64_t (*)(const void* memory, int64_t size_bytes);
ReadLoop widest_read_loop();

}  // namespace olx::bench
