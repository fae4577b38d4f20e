#pragma once
// Hand-made GGUF bytes: every number as the test wants it, right or wrong. Used by tests of the reader.

#include <cstdint>
#include <cstring>
#include <fstream>
#include <string>
#include <string_view>

namespace olx::tests {

class GgufBytes {
 public:
  GgufBytes& raw(std::string_view bytes) {
    bytes_ += bytes;
    return *this;
  }
  template <typename T>
  GgufBytes& number(T value) {
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof value);
    return *this;
  }
  GgufBytes& u32(uint32_t value) { return number(value); }
  GgufBytes& u64(uint64_t value) { return number(value); }
  GgufBytes& text(std::string_view value) { return u64(value.size()).raw(value); }
  GgufBytes& header(uint64_t n_tensors, uint64_t n_kv, uint32_t version = 3) {
    return raw("GGUF").u32(version).u64(n_tensors).u64(n_kv);
  }
  GgufBytes& kv_u32(std::string_view key, uint32_t value) { return text(key).u32(4).u32(value); }
  GgufBytes& kv_text(std::string_view key, std::string_view value) { return text(key).u32(8).text(value); }
  // dims: as the file has them, fastest first.
  GgufBytes& tensor(std::string_view name, std::initializer_list<uint64_t> dims, uint32_t type, uint64_t offset) {
    text(name).u32(static_cast<uint32_t>(dims.size()));
    for (uint64_t dim : dims) u64(dim);
    return u32(type).u64(offset);
  }
  GgufBytes& align(size_t alignment = 32) {
    bytes_.resize((bytes_.size() + alignment - 1) / alignment * alignment);
    return *this;
  }
  GgufBytes& data(size_t size_bytes, char fill = 1) {
    bytes_.append(size_bytes, fill);
    return *this;
  }
  const std::string& bytes() const { return bytes_; }

 private:
  std::string bytes_;
};

inline void write_file(const std::string& path, std::string_view bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

}  // namespace olx::tests
