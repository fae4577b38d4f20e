#pragma once
// KeyReader: metadata of one architecture with ranges: every failure names the key, the expected and the found value.
// Used by model_config.cpp and by architectures for keys that are not a plain field.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "gguf/reader.h"

namespace olx::engine {

class KeyReader {
 public:
  KeyReader(const gguf::GgufFile& file, std::string architecture)
      : file_(file), architecture_(std::move(architecture)) {}

  // Value of "<architecture>.<name>"; nullopt when absent. FormatError when of another type or outside [min, max].
  // An array whose elements are all equal counts as that element; one with different elements is
  // EngineError(kUnsupported), because no architecture here has layers of different size.
  std::optional<int64_t> integer(std::string_view name, int64_t min, int64_t max) const;
  std::optional<double> real(std::string_view name, double min, double max) const;
  std::optional<std::string> text(std::string_view name) const;
  bool flag(std::string_view name, bool otherwise) const;

  std::string full_key(std::string_view name) const { return architecture_ + "." + std::string(name); }
  const std::string& path() const { return file_.path(); }
  const std::string& architecture() const { return architecture_; }
  [[noreturn]] void refuse(std::string_view name, const std::string& expected,
                           const std::string& got) const;

 private:
  const gguf::GgufFile& file_;
  std::string architecture_;
};

}  // namespace olx::engine
