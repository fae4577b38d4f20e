#include "bench/statistics.h"

#include <algorithm>
#include <chrono>
#include <cmath>

namespace olx::bench {

double median(std::vector<double> samples) {
  if (samples.empty()) return 0;
  std::sort(samples.begin(), samples.end());
  const size_t middle = samples.size() / 2;
  return samples.size() % 2 ? samples[middle] : (samples[middle - 1] + samples[middle]) / 2;
}

double median_absolute_deviation(const std::vector<double>& samples) {
  const double center = median(samples);
  std::vector<double> distances;
  for (double sample : samples) distances.push_back(std::fabs(sample - center));
  return median(distances);
}

double now_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace olx::bench
