#pragma once
// Numbers between two bounds, as a grammar over their decimal digits. Used by the schema compiler. Bounds are exact decimal
// numbers, so that what is matched is what a reader of the JSON compares.

#include <optional>
#include <string>

#include "engine/grammar/rules.h"
#include "engine/value.h"

namespace olx::engine {

// A decimal number without an exponent: digits of the whole part (no leading zeros, "" for 0) and of the fraction (no
// trailing zeros).
struct Decimal {
  bool is_negative = false;
  std::string whole, fraction;
  bool is_zero() const { return whole.empty() && fraction.empty(); }
};
// nullopt: not a number, or one with more than 40 digits.
std::optional<Decimal> to_decimal(const Value& number);
int compare(const Decimal& a, const Decimal& b);  // < 0, 0, > 0

struct NumberBounds {
  std::optional<Decimal> lowest, highest;
  bool excludes_lowest = false, excludes_highest = false;
  bool is_integer = false;
  uint32_t multiple_of = 1;  // integers only
};
inline constexpr uint32_t kMaxMultipleOf = 1000;

// The numbers within the bounds, written without an exponent; nothing where there are none.
NodeId decimals_within(const NumberBounds& bounds, RuleSet& rules);

}  // namespace olx::engine
