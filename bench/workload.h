#pragma once
// Work for one kernel row: arguments of a real model's size, and the memory they name. Used by kernel_bench.cpp, which
// runs it through the device as a plan would be run.

#include <memory>
#include <span>
#include <vector>

#include "bench/model_shape.h"
#include "kernels/api/registry.h"

namespace olx::bench {

class Workload {
 public:
  virtual ~Workload() = default;
  // Before anything else, and again for another number. "" or why the row does not take such arguments.
  virtual std::string set_tokens(int64_t n_tokens) = 0;
  // One execution each, over different weights, so that a small layer does not stay in the cache as it would not in a
  // model. They are run in turn.
  virtual std::span<const std::vector<kernels::BoundNode>> executions() const = 0;
  virtual double bytes() const = 0;       // read and written by an execution
  virtual double operations() const = 0;  // a multiply-add is two; 0: not counted
  virtual bool is_cold() const = 0;       // more than a cache holds
  // Runs the first execution and compares it with the oracle: share_of_bound() (tests/kernels/contract/check_row.h).
  virtual double check(kernels::Device& device) = 0;
};

struct WorkloadOptions {
  int64_t max_tokens = 1;
  int64_t depth = 1024;  // positions that attention finds in the cache
};

// Of a step of n_tokens, those of prompts: few tokens are what serving makes one at a time.
constexpr int64_t prompt_tokens(int64_t n_tokens) { return n_tokens > 16 ? n_tokens : 0; }

// Throws std::runtime_error: what the shape has that the row's type cannot hold.
std::unique_ptr<Workload> make_matmul_workload(const kernels::KernelRow& row, const ModelShape& shape, const WorkloadOptions& options,
                                               kernels::Device& device);
std::unique_ptr<Workload> make_op_workload(const kernels::KernelRow& row, const ModelShape& shape, const WorkloadOptions& options,
                                           kernels::Device& device);

}  // namespace olx::bench
