#pragma once
// GgufWriter: collects metadata and tensors, writes one GGUF v3 file. Used by tests, tools and create.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "gguf/dtype.h"

namespace olx::gguf {

class GgufWriter {
 public:
  explicit GgufWriter(uint32_t alignment = 32);
  ~GgufWriter();

  void set_uint32(std::string_view key, uint32_t value);
  void set_uint64(std::string_view key, uint64_t value);
  void set_int32(std::string_view key, int32_t value);
  void set_float32(std::string_view key, float value);
  void set_bool(std::string_view key, bool value);
  void set_string(std::string_view key, std::string_view value);
  void set_strings(std::string_view key, std::span<const std::string> values);
  void set_int32s(std::string_view key, std::span<const int32_t> values);
  void set_float32s(std::string_view key, std::span<const float> values);

  // shape is row-major, slowest first; `bytes` is the encoded data, copied. Its size must match (OLX_CHECK).
  void add_tensor(std::string_view name, DType dtype, std::span<const int64_t> shape,
                  std::span<const std::byte> bytes);

  // Writes the file (not atomically: callers that publish use a temporary name and rename).
  // Throws std::system_error.
  void write(const std::string& path) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace olx::gguf
