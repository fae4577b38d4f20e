#include "gguf/value.h"

#include <cmath>

#include "gguf/bytes.h"

namespace olx::gguf {
namespace {

[[noreturn]] void wrong_type(std::string_view key, std::string_view expected, const Value& got) {
  std::string text = "metadata key '" + std::string(key) + "': expected " + std::string(expected) + ", got ";
  if (got.type() == ValueType::kArray)
    text += "array of " + std::string(value_type_name(got.element_type()));
  else
    text += value_type_name(got.type());
  throw FormatError(text);
}

bool is_integer(ValueType type) {
  switch (type) {
    case ValueType::kUint8:
    case ValueType::kInt8:
    case ValueType::kUint16:
    case ValueType::kInt16:
    case ValueType::kUint32:
    case ValueType::kInt32:
    case ValueType::kUint64:
    case ValueType::kInt64: return true;
    default: return false;
  }
}

// The integer at `bytes`; is_negative tells how to read the 64 bits.
uint64_t load_integer(ValueType type, const std::byte* bytes, bool& is_negative) {
  int64_t value = 0;
  switch (type) {
    case ValueType::kUint8:
    case ValueType::kBool: value = load<uint8_t>(bytes); break;
    case ValueType::kInt8: value = load<int8_t>(bytes); break;
    case ValueType::kUint16: value = load<uint16_t>(bytes); break;
    case ValueType::kInt16: value = load<int16_t>(bytes); break;
    case ValueType::kUint32: value = load<uint32_t>(bytes); break;
    case ValueType::kInt32: value = load<int32_t>(bytes); break;
    case ValueType::kInt64: value = load<int64_t>(bytes); break;
    default: is_negative = false; return load<uint64_t>(bytes);
  }
  is_negative = value < 0;
  return static_cast<uint64_t>(value);
}

size_t element_size(ValueType type) {
  switch (type) {
    case ValueType::kUint8:
    case ValueType::kInt8:
    case ValueType::kBool: return 1;
    case ValueType::kUint16:
    case ValueType::kInt16: return 2;
    case ValueType::kUint32:
    case ValueType::kInt32:
    case ValueType::kFloat32: return 4;
    default: return 8;
  }
}

std::string_view load_string(const std::byte*& bytes) {
  const auto length = static_cast<size_t>(load<uint64_t>(bytes));
  const std::string_view text(reinterpret_cast<const char*>(bytes + 8), length);
  bytes += 8 + length;
  return text;
}

}  // namespace

std::string_view value_type_name(ValueType type) {
  switch (type) {
    case ValueType::kUint8: return "u8";
    case ValueType::kInt8: return "i8";
    case ValueType::kUint16: return "u16";
    case ValueType::kInt16: return "i16";
    case ValueType::kUint32: return "u32";
    case ValueType::kInt32: return "i32";
    case ValueType::kFloat32: return "f32";
    case ValueType::kBool: return "bool";
    case ValueType::kString: return "string";
    case ValueType::kArray: return "array";
    case ValueType::kUint64: return "u64";
    case ValueType::kInt64: return "i64";
    case ValueType::kFloat64: return "f64";
  }
  return "unknown";
}

uint64_t Value::as_uint(std::string_view key) const {
  if (!is_integer(type_)) wrong_type(key, "unsigned integer", *this);
  bool is_negative = false;
  const uint64_t value = load_integer(type_, bytes_.data(), is_negative);
  if (is_negative)
    throw FormatError("metadata key '" + std::string(key) + "': expected unsigned integer, got " +
                      std::to_string(static_cast<int64_t>(value)));
  return value;
}

int64_t Value::as_int(std::string_view key) const {
  if (!is_integer(type_)) wrong_type(key, "integer", *this);
  bool is_negative = false;
  const uint64_t value = load_integer(type_, bytes_.data(), is_negative);
  if (!is_negative && value > static_cast<uint64_t>(INT64_MAX))
    throw FormatError("metadata key '" + std::string(key) + "': expected at most " + std::to_string(INT64_MAX) +
                      ", got " + std::to_string(value));
  return static_cast<int64_t>(value);
}

double Value::as_float(std::string_view key) const {
  if (type_ == ValueType::kFloat32) return load<float>(bytes_.data());
  if (type_ == ValueType::kFloat64) return load<double>(bytes_.data());
  wrong_type(key, "f32", *this);
}

bool Value::as_bool(std::string_view key) const {
  if (type_ != ValueType::kBool) wrong_type(key, "bool", *this);
  return load<uint8_t>(bytes_.data()) != 0;
}

std::string_view Value::as_string(std::string_view key) const {
  if (type_ != ValueType::kString) wrong_type(key, "string", *this);
  const std::byte* bytes = bytes_.data();
  return load_string(bytes);
}

std::vector<std::string_view> Value::as_strings(std::string_view key) const {
  if (type_ != ValueType::kArray || element_type_ != ValueType::kString) wrong_type(key, "array of string", *this);
  std::vector<std::string_view> strings;
  strings.reserve(n_elems_);  // each element took at least 8 bytes of the file
  const std::byte* bytes = bytes_.data();
  for (uint64_t i = 0; i < n_elems_; ++i) strings.push_back(load_string(bytes));
  return strings;
}

std::vector<int64_t> Value::as_ints(std::string_view key) const {
  if (!is_integer(element_type_) && element_type_ != ValueType::kBool) wrong_type(key, "array of integer", *this);
  std::vector<int64_t> values;
  values.reserve(n_elems_);
  const size_t size = element_size(element_type_);
  for (uint64_t i = 0; i < n_elems_; ++i) {
    bool is_negative = false;
    const uint64_t value = load_integer(element_type_, bytes_.data() + i * size, is_negative);
    if (!is_negative && value > static_cast<uint64_t>(INT64_MAX))
      throw FormatError("metadata key '" + std::string(key) + "': element " + std::to_string(i) + " is " +
                        std::to_string(value) + ", expected at most " + std::to_string(INT64_MAX));
    values.push_back(static_cast<int64_t>(value));
  }
  return values;
}

std::vector<float> Value::as_floats(std::string_view key) const {
  if (element_type_ != ValueType::kFloat32 && element_type_ != ValueType::kFloat64)
    wrong_type(key, "array of f32", *this);
  std::vector<float> values;
  values.reserve(n_elems_);
  for (uint64_t i = 0; i < n_elems_; ++i)
    values.push_back(element_type_ == ValueType::kFloat32 ? load<float>(bytes_.data() + 4 * i)
                                                          : static_cast<float>(load<double>(bytes_.data() + 8 * i)));
  return values;
}

}  // namespace olx::gguf
