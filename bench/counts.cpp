#include "bench/counts.h"

#include <charconv>
#include <stdexcept>

namespace olx::bench {
namespace {
constexpr size_t kMaxCounts = 64;
}

std::vector<int> parse_counts(const std::string& option, const std::string& text, int most) {
  const auto refuse = [&] {
    throw std::runtime_error(option + ": expected numbers from 1 to " + std::to_string(most) + " and ranges, at most " +
                             std::to_string(kMaxCounts) + " in all, such as 1,2,4-8; got '" + text + "'");
  };
  const char *at = text.data(), *const end = text.data() + text.size();
  const auto number = [&] {
    int value = 0;
    const auto [last, error] = std::from_chars(at, end, value);
    if (error != std::errc() || value < 1 || value > most) refuse();
    at = last;
    return value;
  };
  std::vector<int> counts;
  while (true) {
    const int from = number();
    int to = from;
    if (at != end && *at == '-') ++at, to = number();
    if (to < from || counts.size() + static_cast<size_t>(to - from) + 1 > kMaxCounts) refuse();
    for (int n = from; n <= to; ++n) counts.push_back(n);
    if (at == end) return counts;
    if (*at++ != ',') refuse();
  }
}

}  // namespace olx::bench
