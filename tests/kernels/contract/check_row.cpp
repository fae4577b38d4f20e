#include "tests/kernels/contract/check_row.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <map>
#include <sstream>
#include <stdexcept>

#include "gguf/check.h"

namespace olx::kernels::contract {
namespace {

constexpr size_t kMaxFailures = 3;
constexpr double kSmallestNormal = 0x1p-126;  // kernels may flush subnormals to zero

int64_t n_units(const Case& c) { return std::visit([](const auto& typed) { return typed.rows(); }, c.args); }

bool is_within(double got, double expected, double bound) {
  const double largest = std::numeric_limits<float>::max();
  if (std::isinf(got)) return std::abs(expected) + bound >= largest && (got > 0) == (expected > 0);
  return std::abs(got - expected) <= bound + kSmallestNormal;  // false for NaN
}

double element_share(double got, double expected, double bound) {
  const double share = std::abs(got - expected) / (bound + kSmallestNormal);
  if (is_within(got, expected, bound)) return std::isinf(got) ? 0 : std::min(share, 1.0);
  return std::isfinite(share) ? share : std::numeric_limits<double>::max();
}

std::string element_text(int64_t row, int64_t col, double got, double expected, double bound) {
  std::ostringstream text;
  text.precision(9);
  text << "[" << row << "," << col << "] got " << got << ", expected " << expected << ", bound " << bound;
  return text.str();
}

// "" or the worst element.
std::string worst_element(const reference::Expected& expected, const std::vector<float>& got) {
  double worst = -1;
  size_t worst_index = 0, n_wrong = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    if (is_within(got[i], expected.value[i], expected.bound[i])) continue;
    ++n_wrong;
    const double excess = element_share(got[i], expected.value[i], expected.bound[i]);
    if (excess > worst) worst = excess, worst_index = i;
  }
  if (n_wrong == 0) return "";
  const auto n_cols = static_cast<size_t>(expected.n_cols);
  return std::to_string(n_wrong) + " of " + std::to_string(got.size()) + " elements wrong, worst " +
         element_text(static_cast<int64_t>(worst_index / n_cols), static_cast<int64_t>(worst_index % n_cols),
                      got[worst_index], expected.value[worst_index], expected.bound[worst_index]);
}

std::vector<float> run(const KernelRow& row, Case& c, const std::vector<RowRange>& ranges, const CaseContext& context) {
  c.memory.reset();
  c.memory.guard_canaries(context.guards_canaries);
  for (const RowRange& range : ranges) run_row(row, c.args_pointer(), range, context);
  c.memory.guard_canaries(false);
  return c.read(c.args);
}

// [0, n) cut at random multiples, in random order; an empty range may be among them.
std::vector<RowRange> random_split(int64_t n, int64_t multiple, Rng& rng) {
  std::vector<int64_t> cuts{0, n};
  const int64_t n_steps = (n + multiple - 1) / multiple;
  for (int64_t i = rng.below(4); i >= 0; --i) cuts.push_back(std::min(n, rng.below(n_steps) * multiple));
  std::sort(cuts.begin(), cuts.end());
  std::vector<RowRange> ranges;
  for (size_t i = 0; i + 1 < cuts.size(); ++i) ranges.push_back({cuts[i], cuts[i + 1]});
  for (size_t i = ranges.size(); i > 1; --i)
    std::swap(ranges[i - 1], ranges[static_cast<size_t>(rng.below(static_cast<int64_t>(i)))]);
  return ranges;
}

std::string check_case(const KernelRow& row, Case& c, Rng& rng, const CaseContext& context, double& worst_share) {
  c.memory.seal();
  const int64_t n = n_units(c);
  const std::vector<float> whole = run(row, c, {{0, n}}, context);
  if (std::string damage = c.memory.damage(); !damage.empty()) return damage;
  worst_share = std::max(worst_share, share_of_bound(c.expected, whole));
  if (std::string worst = worst_element(c.expected, whole); !worst.empty()) return worst;
  const std::vector<std::byte> image = c.memory.image();

  // A device takes all units at once; there the same is asked of a second run.
  const bool is_split = row.run != nullptr;
  const std::string how = is_split ? "split into ranges: " : "run again: ";
  run(row, c, is_split ? random_split(n, c.split_multiple, rng) : std::vector<RowRange>{{0, n}}, context);
  if (std::string damage = c.memory.damage(); !damage.empty()) return how + damage;
  if (c.memory.image() != image) return how + "the result differs from the first";
  return "";
}

}  // namespace

void run_row(const KernelRow& row, void* args, RowRange range, const CaseContext& context) {
  if (row.run != nullptr) return row.run(args, range);
  OLX_CHECK(context.device != nullptr);
  const BoundNode node{&row, args};
  context.device->execute({&node, 1});
  context.device->sync();
}

std::string describe(const KernelRow& row) {
  return std::string(row.backend) + " " + row.name + " (" + std::string(gguf::dtype_info(row.dtype).name) + ", " +
         row.activation->name + ")";
}

double share_of_bound(const reference::Expected& expected, const std::vector<float>& got) {
  double worst = 0;
  for (size_t i = 0; i < got.size(); ++i) worst = std::max(worst, element_share(got[i], expected.value[i], expected.bound[i]));
  return worst;
}

std::vector<std::string> check_row(const KernelRow& row, const CaseContext& context) { return judge_row(row, context).failures; }

Verdict judge_row(const KernelRow& row, const CaseContext& context) {
  Verdict verdict;
  std::vector<std::string>& failures = verdict.failures;
  const auto report = [&](const std::string& name, const std::string& what) {
    failures.push_back(describe(row) + ": case " + name + ": " + what + "; OLLAMAX_TEST_SEED=" +
                       std::to_string(context.seed));
  };
  Rng rng(context.seed, "splits");
  try {
    each_case(row, context, [&](Case& c) {
      ++verdict.n_cases;
      if (std::string what = check_case(row, c, rng, context, verdict.worst); !what.empty()) report(c.name, what);
      return failures.size() < kMaxFailures;
    });
  } catch (const std::runtime_error& error) {  // a layout or format that does not hold together
    report("preparation", error.what());
    return verdict;
  }
  if (verdict.n_cases == 0) report("none", "the row accepts no case at all");
  return verdict;
}

std::vector<std::string> check_pair(const KernelRow& a, const KernelRow& b, const CaseContext& context) {
  struct Result {
    reference::Expected expected;
    std::vector<float> got;
  };
  const auto results_of = [&](const KernelRow& row) {
    std::map<std::string, Result> results;
    each_case(row, context, [&](Case& c) {
      c.memory.seal();
      std::vector<float> got = run(row, c, {{0, n_units(c)}}, context);
      results[c.name] = {std::move(c.expected), std::move(got)};
      return true;
    });
    return results;
  };
  const std::map<std::string, Result> of_a = results_of(a), of_b = results_of(b);
  std::vector<std::string> failures;
  for (const auto& [name, result] : of_a) {
    const auto other = of_b.find(name);
    if (other == of_b.end()) continue;
    reference::Expected between = result.expected;
    for (size_t i = 0; i < between.value.size(); ++i) {
      between.bound[i] += other->second.expected.bound[i];
      // The two may have been given differently rounded inputs: their distance is part of the bound.
      between.bound[i] += std::abs(between.value[i] - other->second.expected.value[i]);
      between.value[i] = result.got[i];
    }
    if (std::string worst = worst_element(between, other->second.got); !worst.empty())
      failures.push_back(describe(a) + " against " + describe(b) + ": case " + name + ": " + worst);
  }
  return failures;
}

}  // namespace olx::kernels::contract
