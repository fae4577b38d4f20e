#include "engine/metadata.h"

#include <algorithm>

namespace olx::engine {

Value metadata_value(std::string_view key, const gguf::Value& value, uint64_t max_elems) {
  using gguf::ValueType;
  const bool is_array = value.type() == ValueType::kArray;
  const auto take = [&](const auto& elements, auto convert) -> Value {
    ValueList list;
    for (uint64_t i = 0; i < std::min<uint64_t>(elements.size(), max_elems); ++i) list.push_back(convert(elements[i]));
    return list;
  };
  switch (value.element_type()) {
    case ValueType::kString:
      if (!is_array) return value.as_string(key);
      return take(value.as_strings(key), [](std::string_view text) { return Value(text); });
    case ValueType::kFloat32:
    case ValueType::kFloat64:
      if (!is_array) return value.as_float(key);
      return take(value.as_floats(key), [](float number) { return Value(static_cast<double>(number)); });
    case ValueType::kBool:
      if (!is_array) return value.as_bool(key);
      return take(value.as_ints(key), [](int64_t number) { return Value(number != 0); });
    case ValueType::kUint64:
      if (!is_array && value.as_uint(key) > static_cast<uint64_t>(INT64_MAX)) return static_cast<double>(value.as_uint(key));
      [[fallthrough]];
    default:
      if (!is_array) return value.as_int(key);
      return take(value.as_ints(key), [](int64_t number) { return Value(number); });
  }
}

}  // namespace olx::engine
