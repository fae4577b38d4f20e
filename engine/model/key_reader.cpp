#include "engine/model/key_reader.h"

#include <cmath>
#include <cstdio>

#include "engine/error.h"

namespace olx::engine {
namespace {

std::string number_text(double value) {
  char text[40];
  std::snprintf(text, sizeof text, "%.9g", value);
  return text;
}

}  // namespace

void KeyReader::refuse(std::string_view name, const std::string& expected,
                       const std::string& got) const {
  throw gguf::FormatError(path() + ": " + full_key(name) + ": expected " + expected + ", got " + got);
}

std::optional<int64_t> KeyReader::integer(std::string_view name, int64_t min, int64_t max) const {
  const std::string key = full_key(name);
  const gguf::Value* value = file_.find(key);
  if (value == nullptr) return std::nullopt;
  int64_t number = 0;
  if (value->type() == gguf::ValueType::kArray) {
    const auto numbers = value->as_ints(key);
    if (numbers.empty()) refuse(name, "a number", "an empty array");
    number = numbers[0];
    for (int64_t other : numbers) {
      if (other == number) continue;
      throw EngineError(ErrorCode::kUnsupported, path() + ": " + key + ": layers of different size (" +
                                                     std::to_string(number) + " and " +
                                                     std::to_string(other) + ") are not supported");
    }
  } else {
    number = value->as_int(key);
  }
  if (number < min || number > max) {
    refuse(name, std::to_string(min) + " .. " + std::to_string(max), std::to_string(number));
  }
  return number;
}

std::optional<double> KeyReader::real(std::string_view name, double min, double max) const {
  const std::string key = full_key(name);
  const gguf::Value* value = file_.find(key);
  if (value == nullptr) return std::nullopt;
  const double number = value->as_float(key);
  if (!std::isfinite(number) || number < min || number > max) {
    refuse(name, number_text(min) + " .. " + number_text(max), number_text(number));
  }
  return number;
}

std::optional<std::string> KeyReader::text(std::string_view name) const {
  const std::string key = full_key(name);
  const gguf::Value* value = file_.find(key);
  if (value == nullptr) return std::nullopt;
  return std::string(value->as_string(key));
}

bool KeyReader::flag(std::string_view name, bool otherwise) const {
  const std::string key = full_key(name);
  const gguf::Value* value = file_.find(key);
  return value == nullptr ? otherwise : value->as_bool(key);
}

}  // namespace olx::engine
