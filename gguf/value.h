#pragma once
// One metadata value of a GGUF file, with getters that name the key, the expected and the found type.
// Arrays are views into the file's metadata, which GgufFile owns: a Value must not outlive it.

#include <cstdint>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace olx::gguf {

// A file that does not keep to the format. what() is one line: file, byte offset, expected and got.
class FormatError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

enum class ValueType : uint32_t {
  kUint8 = 0, kInt8 = 1, kUint16 = 2, kInt16 = 3, kUint32 = 4, kInt32 = 5, kFloat32 = 6,
  kBool = 7, kString = 8, kArray = 9, kUint64 = 10, kInt64 = 11, kFloat64 = 12,
};
std::string_view value_type_name(ValueType type);

class Value {
 public:
  ValueType type() const { return type_; }
  ValueType element_type() const { return element_type_; }  // of an array; otherwise type()
  uint64_t n_elems() const { return n_elems_; }             // 1 for a scalar

  // Each throws FormatError when the value is of another kind or out of range; `key` is for the message.
  // Any integer type converts when its value fits; as_float also takes f64.
  uint64_t as_uint(std::string_view key) const;
  int64_t as_int(std::string_view key) const;
  double as_float(std::string_view key) const;
  bool as_bool(std::string_view key) const;
  std::string_view as_string(std::string_view key) const;
  std::vector<std::string_view> as_strings(std::string_view key) const;
  std::vector<int64_t> as_ints(std::string_view key) const;   // integer or bool array; a scalar is one element
  std::vector<float> as_floats(std::string_view key) const;
  // As it stands in the file, after the type (and, of an array, its element type and length).
  std::span<const std::byte> encoded() const { return bytes_; }

 private:
  friend class GgufParser;
  ValueType type_ = ValueType::kUint8;
  ValueType element_type_ = ValueType::kUint8;
  uint64_t n_elems_ = 0;
  std::span<const std::byte> bytes_;  // the encoded payload, validated by the reader
};

}  // namespace olx::gguf
