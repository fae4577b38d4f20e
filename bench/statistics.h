#pragma once
// Median and spread of a few samples, as every report of the bench prints them.

#include <vector>

namespace olx::bench {

double median(std::vector<double> samples);                      // 0 for none
double median_absolute_deviation(const std::vector<double>& samples);
double now_seconds();                                            // monotonic

}  // namespace olx::bench
