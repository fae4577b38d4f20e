#include "engine/schedule/step_costs.h"

#include <algorithm>

namespace olx::engine {
namespace {

constexpr double kColumn =
    0.12;  // of a step of one column: what another one is taken to cost before it is measured
constexpr double kDrift =
    0.1;  // share of a deviation that is the machine's, or the context's, and so counts for all
constexpr double kOwn = 0.1;  // share that counts for this number of columns besides

}  // namespace

void StepCosts::count(int n_columns, int64_t ns) {
  if (n_columns < 1 || n_columns > kMaxColumns || ns <= 0) return;
  ++n_steps_;
  Entry& own = entries_[static_cast<size_t>(n_columns)];
  const auto measured = static_cast<double>(ns);
  if (is_known(own)) {
    // A step that another program held up says little of the next one.
    const double ratio = std::clamp(measured / own.ns, 0.5, 1.5);
    for (Entry& entry : entries_) entry.ns *= 1 + kDrift * (ratio - 1);
    own.ns += kOwn * own.ns * (ratio - 1);
  } else {
    own.ns = measured;
  }
  own.measured_at = n_steps_;
}

double StepCosts::expected(int n_columns) const {
  const int n = std::clamp(n_columns, 1, kMaxColumns);
  int low = 0, high = 0;
  for (int i = 1; i <= kMaxColumns; ++i) {
    if (!is_known(entries_[static_cast<size_t>(i)])) continue;
    if (i <= n) low = i;
    if (i >= n && high == 0) high = i;
  }
  const auto slope = [](int columns) { return 1 + kColumn * (columns - 1); };
  const auto ns = [&](int columns) { return entries_[static_cast<size_t>(columns)].ns; };
  if (low == 0 && high == 0) return slope(n);
  if (low == 0) return ns(high) * slope(n) / slope(high);
  // Measured figures are noisy; more columns are never cheaper than fewer.
  double floor = 0;
  for (int i = 1; i <= low; ++i)
    if (is_known(entries_[static_cast<size_t>(i)])) floor = std::max(floor, ns(i));
  if (high == 0) return std::max(floor, ns(low) * slope(n) / slope(low));
  if (low == high) return floor;
  return std::max(floor, ns(low) + (ns(high) - ns(low)) * (n - low) / (high - low));
}

}  // namespace olx::engine
