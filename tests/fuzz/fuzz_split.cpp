// Any bytes as two parts of a split model: FormatError, or a model of which every tensor can be read, and which merged into one file
// is the same model.
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "gguf/split.h"

namespace {

using namespace olx::gguf;

class MemoryFile {
 public:
  explicit MemoryFile(const char* name) : fd_(::memfd_create(name, 0)) {
    if (fd_ < 0) std::abort();
  }
  void set(const void* bytes, size_t size) {
    if (::ftruncate(fd_, 0) != 0 || ::pwrite(fd_, bytes, size, 0) != static_cast<ssize_t>(size)) std::abort();
  }
  std::string path() const { return "/proc/self/fd/" + std::to_string(fd_); }

 private:
  int fd_;
};

std::vector<std::byte> bytes_of(const GgufFile& file, const TensorInfo& tensor) {
  std::vector<std::byte> bytes(tensor.size_bytes);
  file.read(tensor, 0, bytes);
  return bytes;
}

void check_merged(const GgufFile& joined, const GgufFile& merged) {
  if (merged.tensors().size() != joined.tensors().size()) std::abort();
  for (size_t i = 0; i < joined.tensors().size(); ++i) {
    const TensorInfo &a = joined.tensors()[i], &b = merged.tensors()[i];
    if (a.name != b.name || a.dtype != b.dtype || a.shape != b.shape || b.part != 0 || bytes_of(joined, a) != bytes_of(merged, b)) std::abort();
  }
  for (const GgufFile::Entry& entry : joined.metadata()) {
    const Value* value = merged.find(entry.key);
    if (entry.key.starts_with("split.") ? value != nullptr : value == nullptr) std::abort();
    if (value != nullptr && !std::equal(value->encoded().begin(), value->encoded().end(), entry.value.encoded().begin(), entry.value.encoded().end())) std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static MemoryFile first("first"), second("second"), merged("merged");
  if (size < 2) return 0;
  uint16_t cut = 0;
  std::memcpy(&cut, data, 2);
  const size_t n_first = std::min<size_t>(cut, size - 2);
  first.set(data + 2, n_first);
  second.set(data + 2 + n_first, size - 2 - n_first);
  try {
    const GgufFile joined = GgufFile::open_parts({first.path(), second.path()});
    std::string out;
    merge(joined, [&](std::span<const std::byte> bytes) { out.append(reinterpret_cast<const char*>(bytes.data()), bytes.size()); });
    if (out.size() != merged_size_bytes(joined)) std::abort();
    merged.set(out.data(), out.size());
    check_merged(joined, GgufFile::open(merged.path()));
  } catch (const FormatError&) {
  }
  return 0;
}
