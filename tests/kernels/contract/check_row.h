#pragma once
// The contract of a kernel row as a function: run it over all its cases and say what is wrong. The contract tests, the
// broken kernels and (before it times anything) ollamax-bench use it.

#include <string>
#include <vector>

#include "tests/kernels/contract/case.h"

namespace olx::kernels::contract {

struct Verdict {
  std::vector<std::string> failures;  // as check_row() gives them
  size_t n_cases = 0;
  double worst = 0;  // the largest share_of_bound() of all cases
};
Verdict judge_row(const KernelRow& row, const CaseContext& context);

// The largest |got - expected| / bound of an output; above 1 (a NaN where there should be none: the largest double)
// where an element is outside its bound.
double share_of_bound(const reference::Expected& expected, const std::vector<float>& got);

// One line a failure: the row, the case, the worst element or the damage, the seed. Empty: the row keeps its contract.
// Stops after a few failures.
std::vector<std::string> check_row(const KernelRow& row, const CaseContext& context);

// Both rows over the brief cases: results may differ by the sum of their bounds, no more.
std::vector<std::string> check_pair(const KernelRow& a, const KernelRow& b, const CaseContext& context);

std::string describe(const KernelRow& row);  // "cpu matmul_q4_k_avx512 (q4_k, q8)"

}  // namespace olx::kernels::contract
