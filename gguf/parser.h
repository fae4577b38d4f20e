#pragma once
// GgufParser: the validation of a GGUF file's structure, step by step. Used by reader.cpp alone.
// It never trusts a number of the file: no allocation is larger than the bytes that were really read.

#include <cstddef>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "gguf/reader.h"

namespace olx::gguf {

struct GgufFile::Impl {
  std::string path;
  int fd = -1;
  uint64_t file_size_bytes = 0;
  uint32_t version = 0;
  uint32_t alignment = 32;
  uint64_t data_offset_bytes = 0;
  std::vector<std::byte> header;  // every byte before the tensor data that was parsed; Values point into it
  std::vector<Entry> metadata;
  std::vector<TensorInfo> tensors;
  std::unordered_map<std::string_view, size_t> metadata_index;  // key -> position
  std::unordered_map<std::string_view, size_t> tensor_index;
  std::vector<GgufFile> more_parts;  // of a model in several files: all but the first
  Impl() = default;
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  ~Impl();
};

class GgufParser {
 public:
  GgufParser(GgufFile::Impl& file, const Limits& limits) : file_(file), limits_(limits) {}
  void parse();

 private:
  [[noreturn]] void fail(uint64_t offset, const std::string& what) const;
  uint64_t remaining() const { return file_.file_size_bytes - offset_; }
  // Makes `size_bytes` bytes at the current offset available, reading more of the file when needed.
  const std::byte* take(uint64_t size_bytes, std::string_view what);
  template <typename T>
  T take_number(std::string_view what);
  std::string_view take_string(uint64_t max_bytes, std::string_view what);

  void read_metadata(uint64_t n_kv);
  void take_value(Value& value, std::string_view key);
  void take_array(Value& value, std::string_view key);
  void read_tensors(uint64_t n_tensors);
  void check_layout();

  struct Span {
    uint64_t from = 0;
    uint64_t size_bytes = 0;
  };
  GgufFile::Impl& file_;
  const Limits& limits_;
  uint64_t offset_ = 0;             // of the next byte to parse
  std::vector<Span> payloads_;      // of metadata values, until header stops growing
  std::vector<Span> keys_;
};

}  // namespace olx::gguf
