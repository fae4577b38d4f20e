#pragma once
// GgufFile: opens a GGUF file after validating every byte of its structure (the order is in reader.cpp).
// Used by the engine's loader, the tokenizers, the server's create and `inspect`. It never maps weights:
// tensor bytes are read on demand, so a file cut short afterwards is an error and not a signal.

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "gguf/dtype.h"
#include "gguf/value.h"

namespace olx::gguf {

struct Limits {
  uint64_t max_kv = 65'536;
  uint64_t max_tensors = 1'048'576;
  uint64_t max_string_bytes = 16ull << 20;
  uint64_t max_metadata_bytes = 512ull << 20;
};

struct TensorInfo {
  std::string name;
  DType dtype = DType::kF32;
  int n_dims = 1;
  // Row-major, slowest dimension first: shape[n_dims - 1] is the row length (the file's ne[0]).
  std::array<int64_t, 4> shape{1, 1, 1, 1};
  uint64_t offset_bytes = 0;  // from the start of the file it is in
  uint32_t part = 0;          // which file that is, of a model in several
  uint64_t size_bytes = 0;
  int64_t n_cols() const { return shape[n_dims - 1]; }
  int64_t n_rows() const;    // product of all dimensions but the last
  int64_t n_elems() const { return n_rows() * n_cols(); }
  std::string shape_text() const;  // "[4096, 2048]"
};

class GgufFile {
 public:
  // A whole model. One in several files is opened by the name of its first, "…-00001-of-00003.gguf"; the others lie beside it.
  // Throws FormatError (one line: path, offset, expected, got) or std::system_error when it cannot be opened.
  static GgufFile open(const std::string& path, const Limits& limits = {});
  // This one file, whether or not it is a part of a model.
  static GgufFile open_part(const std::string& path, const Limits& limits = {});
  // The same for one that is open for reading, which it closes in every case; `path` names it in messages.
  static GgufFile adopt(int fd, const std::string& path, const Limits& limits = {});
  // A model from all its files, in order, whatever they are called: see split.h for what they must say.
  static GgufFile open_parts(const std::vector<std::string>& paths, const Limits& limits = {});
  GgufFile(GgufFile&&) noexcept;
  GgufFile& operator=(GgufFile&&) noexcept;
  ~GgufFile();

  const std::string& path() const;
  uint32_t version() const;
  uint64_t file_size_bytes() const;  // of all its files
  uint64_t data_offset_bytes() const;
  uint32_t alignment() const;

  struct Entry { std::string_view key; Value value; };
  const std::vector<Entry>& metadata() const;      // in file order; of several files, the first one's
  const Value* find(std::string_view key) const;   // nullptr when absent
  const Value& get(std::string_view key) const;    // FormatError naming the key when absent

  const std::vector<TensorInfo>& tensors() const;  // in file order
  const TensorInfo* find_tensor(std::string_view name) const;

  // Reads exactly out.size() bytes of the tensor starting at offset_bytes within it. Thread-safe.
  // Throws FormatError when the file has become shorter or the range is outside the tensor.
  void read(const TensorInfo& tensor, uint64_t offset_bytes, std::span<std::byte> out) const;
  // Whether the system has nearly all bytes of its files in memory, as far as a look at every few MB tells; false where it
  // does not say.
  bool is_cached() const;

 private:
  friend class GgufParser;
  struct Impl;
  void join(std::vector<GgufFile> parts);
  explicit GgufFile(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace olx::gguf
