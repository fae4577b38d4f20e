#include "engine/grammar/schema/decimal_range.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <tuple>

#include "engine/grammar/schema/json_rules.h"

namespace olx::engine {
namespace {

constexpr size_t kMaxDecimalDigits = 40;
constexpr size_t kMaxDigits = 15;  // in all: two decimals of so many digits are two doubles, so no bound is met by rounding

// The non-negative numbers from `low` to `high` as rules, one for each state of a machine that reads digits from the left: the
// digits still to come, whether all digits so far are those of a bound, and the remainder for multiples.
class DigitMachine {
 public:
  struct Bound {
    std::string whole, fraction;
    bool is_excluded = false;
  };
  DigitMachine(std::optional<Bound> low, std::optional<Bound> high, bool is_integer, uint32_t multiple_of, RuleSet& rules)
      : low_(std::move(low)), high_(std::move(high)), is_integer_(is_integer), multiple_of_(multiple_of), rules_(rules) {}

  NodeId make() {
    // Without an upper bound the numbers still have an end, but one above the lower bound.
    size_t n_longest = high_ ? high_->whole.size() : std::max<size_t>(kMaxNumberDigits, low_ ? low_->whole.size() + 1 : 0);
    n_longest = std::max<size_t>(n_longest, 1);
    std::vector<NodeId> lengths;
    for (size_t n = 1; n <= n_longest; ++n) {
      if (low_ && n < std::max<size_t>(low_->whole.size(), 1)) continue;
      n_digits_ = n;
      whole_rules_.clear();
      fraction_rules_.clear();
      const bool at_low = low_ && n == std::max<size_t>(low_->whole.size(), 1);
      const bool at_high = high_ && n == std::max<size_t>(high_->whole.size(), 1);
      lengths.push_back(whole(0, at_low, at_high, 0));
    }
    return rules_.choice(std::move(lengths));
  }

 private:
  static int digit_at(const std::string& digits, size_t i) { return i < digits.size() ? digits[i] - '0' : 0; }
  // "0" has no digits in a Decimal and one here.
  static int whole_digit(const Bound& bound, size_t i) { return bound.whole.empty() ? 0 : bound.whole[i] - '0'; }
  static ByteSet digits(int first, int last) {
    ByteSet set;
    for (int d = first; d <= last; ++d) set.set(static_cast<size_t>('0' + d));
    return set;
  }

  // Calls next(at_low, at_high, first, last) for the runs of digits from `first` to `last` that lead to the same state.
  template <typename Next>
  void runs(bool at_low, int low, bool at_high, int high, int first, Next next) const {
    const int from = std::max(first, at_low ? low : 0), to = at_high ? high : 9;
    for (int d = from; d <= to;) {
      const bool stays_low = at_low && d == low, stays_high = at_high && d == high;
      int last = d;
      if (!stays_low && !stays_high) last = at_high ? to - 1 : to;
      next(stays_low, stays_high, d, last);
      d = last + 1;
    }
  }

  NodeId whole(size_t i, bool at_low, bool at_high, uint32_t remainder) {
    const auto key = std::tuple(i, at_low, at_high, remainder);
    const auto found = whole_rules_.find(key);
    if (found != whole_rules_.end()) return rules_.call(found->second);
    if (i == n_digits_) return end(at_low, at_high, remainder);
    const RuleId rule = rules_.new_rule();
    whole_rules_.emplace(key, rule);
    std::vector<NodeId> ways;
    const int first = i == 0 && n_digits_ > 1 ? 1 : 0;
    runs(at_low, at_low ? whole_digit(*low_, i) : 0, at_high, at_high ? whole_digit(*high_, i) : 9, first,
         [&](bool stays_low, bool stays_high, int from, int to) {
           if (multiple_of_ == 1) {
             ways.push_back(rules_.sequence({rules_.bytes(digits(from, to)), whole(i + 1, stays_low, stays_high, 0)}));
             return;
           }
           for (int d = from; d <= to; ++d)
             ways.push_back(rules_.sequence({rules_.bytes(digits(d, d)),
                                             whole(i + 1, stays_low, stays_high, (remainder * 10 + static_cast<uint32_t>(d)) % multiple_of_)}));
         });
    rules_.define(rule, rules_.choice(std::move(ways)));
    return rules_.call(rule);
  }

  // After the whole part: nothing, or a fraction.
  NodeId end(bool at_low, bool at_high, uint32_t remainder) {
    std::vector<NodeId> ways;
    if (remainder == 0 && may_end(at_low, at_high, 0)) ways.push_back(rules_.empty());
    if (!is_integer_ && n_digits_ < kMaxDigits) ways.push_back(rules_.sequence({rules_.literal("."), fraction(0, at_low, at_high)}));
    return rules_.choice(std::move(ways));
  }

  // The number read so far, followed by zeros for ever, is inside. i: digits of the fraction read.
  bool may_end(bool at_low, bool at_high, size_t i) const {
    if (at_low && (low_->fraction.size() > i || low_->is_excluded)) return false;
    return !(at_high && high_->fraction.size() <= i && high_->is_excluded);
  }

  NodeId fraction(size_t i, bool at_low, bool at_high) {
    const size_t n_most = kMaxDigits - n_digits_;
    if (!at_low && !at_high) return rules_.repeat(rules_.bytes(digits(0, 9)), i == 0 ? 1 : 0, static_cast<uint32_t>(n_most - i));
    const auto key = std::tuple(i, at_low, at_high);
    const auto found = fraction_rules_.find(key);
    if (found != fraction_rules_.end()) return rules_.call(found->second);
    const RuleId rule = rules_.new_rule();
    fraction_rules_.emplace(key, rule);
    std::vector<NodeId> ways;
    if (i > 0 && may_end(at_low, at_high, i)) ways.push_back(rules_.empty());
    if (i < n_most)
      runs(at_low, at_low ? digit_at(low_->fraction, i) : 0, at_high, at_high ? digit_at(high_->fraction, i) : 9, 0,
           [&](bool stays_low, bool stays_high, int from, int to) {
             ways.push_back(rules_.sequence({rules_.bytes(digits(from, to)), fraction(i + 1, stays_low, stays_high)}));
           });
    rules_.define(rule, rules_.choice(std::move(ways)));
    return rules_.call(rule);
  }

  std::optional<Bound> low_, high_;
  bool is_integer_;
  uint32_t multiple_of_;
  RuleSet& rules_;
  size_t n_digits_ = 0;
  std::map<std::tuple<size_t, bool, bool, uint32_t>, RuleId> whole_rules_;
  std::map<std::tuple<size_t, bool, bool>, RuleId> fraction_rules_;
};

int compare_sizes(const Decimal& a, const Decimal& b) {
  if (a.whole.size() != b.whole.size()) return a.whole.size() < b.whole.size() ? -1 : 1;
  if (const int order = a.whole.compare(b.whole)) return order;
  return a.fraction.compare(b.fraction);
}

}  // namespace

std::optional<Decimal> to_decimal(const Value& number) {
  std::string text;
  if (const int64_t* i = number.as_int()) text = std::to_string(*i);
  else if (const double* d = number.as_double(); d != nullptr && std::isfinite(*d)) text = double_text(*d);
  else return std::nullopt;
  Decimal out;
  int64_t exponent = 0;
  bool in_fraction = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '-') {
      out.is_negative = true;
    } else if (c == '.') {
      in_fraction = true;
    } else if (c == 'e') {
      exponent = std::stoll(text.substr(i + 1));
      break;
    } else {
      (in_fraction ? out.fraction : out.whole) += c;
    }
  }
  if (std::abs(exponent) > static_cast<int64_t>(kMaxDecimalDigits)) return std::nullopt;
  for (; exponent > 0; --exponent) {
    out.whole += out.fraction.empty() ? '0' : out.fraction[0];
    if (!out.fraction.empty()) out.fraction.erase(0, 1);
  }
  for (; exponent < 0; ++exponent) {
    out.fraction.insert(0, 1, out.whole.empty() ? '0' : out.whole.back());
    if (!out.whole.empty()) out.whole.pop_back();
  }
  out.whole.erase(0, std::min(out.whole.find_first_not_of('0'), out.whole.size()));
  while (out.fraction.ends_with('0')) out.fraction.pop_back();
  if (out.whole.size() + out.fraction.size() > kMaxDecimalDigits) return std::nullopt;
  if (out.is_zero()) out.is_negative = false;
  return out;
}

int compare(const Decimal& a, const Decimal& b) {
  if (a.is_negative != b.is_negative) return a.is_negative ? -1 : 1;
  return a.is_negative ? compare_sizes(b, a) : compare_sizes(a, b);
}

NodeId decimals_within(const NumberBounds& bounds, RuleSet& rules) {
  if (bounds.lowest && bounds.highest) {
    const int order = compare(*bounds.lowest, *bounds.highest);
    if (order > 0 || (order == 0 && (bounds.excludes_lowest || bounds.excludes_highest))) return rules.nothing();
  }
  const auto bound = [](const Decimal& d, bool is_excluded) { return DigitMachine::Bound{d.whole, d.fraction, is_excluded}; };
  std::vector<NodeId> ways;
  // Zero belongs to the half without a sign.
  if (!bounds.highest || !bounds.highest->is_negative) {
    std::optional<DigitMachine::Bound> low, high;
    if (bounds.lowest && !bounds.lowest->is_negative) low = bound(*bounds.lowest, bounds.excludes_lowest);
    if (bounds.highest) high = bound(*bounds.highest, bounds.excludes_highest);
    ways.push_back(DigitMachine(low, high, bounds.is_integer, bounds.multiple_of, rules).make());
  }
  if (!bounds.lowest || bounds.lowest->is_negative) {
    // Below zero the bounds change places; without an upper one below zero, "-0" is left out.
    std::optional<DigitMachine::Bound> low = DigitMachine::Bound{"", "", true}, high;
    if (bounds.highest && bounds.highest->is_negative) low = bound(*bounds.highest, bounds.excludes_highest);
    if (bounds.lowest) high = bound(*bounds.lowest, bounds.excludes_lowest);
    ways.push_back(rules.sequence({rules.literal("-"), DigitMachine(low, high, bounds.is_integer, bounds.multiple_of, rules).make()}));
  }
  return rules.choice(std::move(ways));
}

}  // namespace olx::engine
