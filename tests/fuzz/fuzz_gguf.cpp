// Any bytes as a GGUF file: FormatError or a file whose every value and tensor can be read.
#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "gguf/quantize.h"
#include "gguf/reader.h"

namespace {

void read_everything(const std::string& path) {
  using namespace olx::gguf;
  const GgufFile file = GgufFile::open(path);
  for (const GgufFile::Entry& entry : file.metadata()) {
    try {
      (void)entry.value.as_strings(entry.key);
    } catch (const FormatError&) {
    }
    try {
      (void)entry.value.as_ints(entry.key);
    } catch (const FormatError&) {
    }
    try {
      (void)entry.value.as_floats(entry.key);
    } catch (const FormatError&) {
    }
  }
  for (const TensorInfo& tensor : file.tensors()) {
    std::vector<std::byte> bytes(tensor.size_bytes);  // the reader promised that the file has them
    file.read(tensor, 0, bytes);
    std::vector<float> floats(static_cast<size_t>(tensor.n_cols()));
    dequantize_row(tensor.dtype, bytes.data(), floats.data(), tensor.n_cols());
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const int fd = ::memfd_create("fuzz", 0);
  if (fd < 0 || ::ftruncate(fd, 0) != 0 || ::pwrite(fd, data, size, 0) != static_cast<ssize_t>(size)) std::abort();
  try {
    read_everything("/proc/self/fd/" + std::to_string(fd));
  } catch (const olx::gguf::FormatError&) {
  }
  return 0;
}
