#include "server/json/duration.h"

#include <cstdlib>

namespace olx::server {
namespace {

// value / unit with up to `digits` decimals, trailing zeros removed.
std::string decimal(int64_t value, int64_t unit, int digits) {
  const std::string whole = std::to_string(value / unit);
  std::string fraction = std::to_string(unit + value % unit).substr(1);
  fraction.resize(static_cast<size_t>(digits), '0');
  while (!fraction.empty() && fraction.back() == '0') fraction.pop_back();
  return fraction.empty() ? whole : whole + "." + fraction;
}

}  // namespace

std::string go_duration(int64_t nanoseconds) {
  if (nanoseconds == 0) return "0s";
  std::string out = nanoseconds < 0 ? "-" : "";
  const int64_t ns = nanoseconds < 0 ? -nanoseconds : nanoseconds;
  if (ns < 1'000) return out + std::to_string(ns) + "ns";
  if (ns < 1'000'000) return out + decimal(ns, 1'000, 3) + "\xc2\xb5s";
  if (ns < 1'000'000'000) return out + decimal(ns, 1'000'000, 6) + "ms";
  const int64_t hours = ns / 3'600'000'000'000, minutes = ns / 60'000'000'000 % 60;
  if (hours > 0) out += std::to_string(hours) + "h";
  if (hours > 0 || minutes > 0) out += std::to_string(minutes) + "m";
  return out + decimal(ns % 60'000'000'000, 1'000'000'000, 9) + "s";
}

std::string parse_go_duration(std::string_view text, int64_t& nanoseconds) {
  const std::string invalid = "time: invalid duration \"" + std::string(text) + "\"";
  std::string_view rest = text;
  const bool is_negative = rest.starts_with('-');
  if (rest.starts_with('-') || rest.starts_with('+')) rest.remove_prefix(1);
  if (rest == "0") {
    nanoseconds = 0;
    return "";
  }
  if (rest.empty()) return invalid;
  const struct { std::string_view name; double ns; } kUnits[] = {{"ns", 1},  {"us", 1e3}, {"\xc2\xb5s", 1e3}, {"ms", 1e6},
                                                                {"s", 1e9}, {"m", 60e9}, {"h", 3600e9}};
  double total = 0;
  while (!rest.empty()) {
    size_t n = 0;
    int n_dots = 0;
    while (n < rest.size() && ((rest[n] >= '0' && rest[n] <= '9') || (rest[n] == '.' && n_dots++ == 0))) ++n;
    if (n == 0 || (n == 1 && rest[0] == '.')) return invalid;
    const double number = std::strtod(std::string(rest.substr(0, n)).c_str(), nullptr);
    rest.remove_prefix(n);
    if (rest.empty() || (rest[0] >= '0' && rest[0] <= '9')) return "time: missing unit in duration \"" + std::string(text) + "\"";
    bool is_found = false;
    for (const auto& unit : kUnits) {
      if (!rest.starts_with(unit.name)) continue;
      total += number * unit.ns;
      rest.remove_prefix(unit.name.size());
      is_found = true;
      break;
    }
    if (!is_found || total > 9.2e18) return invalid;
  }
  nanoseconds = static_cast<int64_t>(is_negative ? -total : total);
  return "";
}

}  // namespace olx::server
