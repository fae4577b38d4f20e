#pragma once
// Value: what templates compute with and what crosses the engine's door where JSON would (tool definitions, arguments).
// A plain tree with ordered maps. The server converts JSON to and from it; no JSON text is parsed here.

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace olx::engine {

class Value;
using ValueList = std::vector<Value>;
using ValueMap = std::vector<std::pair<std::string, Value>>;  // insertion order is kept

class Value {
 public:
  Value() = default;  // null
  Value(std::nullptr_t) {}
  Value(bool b) : data_(b) {}
  Value(int i) : data_(static_cast<int64_t>(i)) {}
  Value(int64_t i) : data_(i) {}
  Value(double d) : data_(d) {}
  Value(std::string s) : data_(std::move(s)) {}
  Value(std::string_view s) : data_(std::string(s)) {}
  Value(const char* s) : data_(std::string(s)) {}
  Value(ValueList list) : data_(std::move(list)) {}
  Value(ValueMap map) : data_(std::move(map)) {}

  bool is_null() const { return std::holds_alternative<std::monostate>(data_); }
  const bool* as_bool() const { return std::get_if<bool>(&data_); }
  const int64_t* as_int() const { return std::get_if<int64_t>(&data_); }
  const double* as_double() const { return std::get_if<double>(&data_); }
  const std::string* as_string() const { return std::get_if<std::string>(&data_); }
  const ValueList* as_list() const { return std::get_if<ValueList>(&data_); }
  const ValueMap* as_map() const { return std::get_if<ValueMap>(&data_); }
  ValueList* as_list() { return std::get_if<ValueList>(&data_); }
  ValueMap* as_map() { return std::get_if<ValueMap>(&data_); }

  // The member of a map, nullptr when this is not a map or has no such key.
  const Value* find(std::string_view key) const {
    if (const ValueMap* map = as_map())
      for (const auto& [name, value] : *map)
        if (name == key) return &value;
    return nullptr;
  }

  bool operator==(const Value&) const = default;

 private:
  std::variant<std::monostate, bool, int64_t, double, std::string, ValueList, ValueMap> data_;
};

}  // namespace olx::engine
