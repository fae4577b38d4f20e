#pragma once
// JSON as Go reads and writes it: parsing with limits, text with Go's escapes, and members found whatever their case.
// Used by every part of the server that touches JSON.

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "engine/value.h"

namespace olx::server {

// Text that is not JSON, or a member of another type than wanted. what() is in the words of Go's decoder.
class JsonError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

inline constexpr size_t kMaxJsonDepth = 64;
inline constexpr size_t kMaxJsonKeys = 10'000;

// One value; what follows it is ignored. Throws JsonError. Limits: depth 64, 10 000 members of one object.
boost::json::value parse_json(std::string_view text);

// Compact text. <, >, &, U+2028 and U+2029 are escaped, bytes that are no UTF-8 become U+FFFD, numbers are shortest.
std::string go_json(const boost::json::value& value);

boost::json::value to_json(const engine::Value& value);
engine::Value to_value(const boost::json::value& value);

// Reads the members of one JSON object into typed values. A member that is absent or null is nullopt;
// one of another type throws JsonError naming "Struct.member".
class Fields {
 public:
  Fields(const boost::json::object& object, std::string_view struct_name) : object_(object), struct_(struct_name) {}

  const boost::json::value* find(std::string_view name) const;  // nullptr: absent or null
  std::optional<std::string> text(std::string_view name) const;
  std::optional<bool> boolean(std::string_view name) const;
  std::optional<int64_t> integer(std::string_view name) const;
  const boost::json::array* array(std::string_view name) const;    // nullptr: absent
  const boost::json::object* object(std::string_view name) const;  // nullptr: absent
  std::vector<std::string> texts(std::string_view name) const;

 private:
  [[noreturn]] void mismatch(std::string_view name, const boost::json::value& found, std::string_view wanted) const;
  const boost::json::object& object_;
  std::string_view struct_;
};

}  // namespace olx::server
