#include "gguf/reader.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "gguf/checked.h"
#include "gguf/parser.h"

namespace olx::gguf {

int64_t TensorInfo::n_rows() const {
  int64_t rows = 1;
  for (int i = 0; i + 1 < n_dims; ++i) rows *= shape[static_cast<size_t>(i)];
  return rows;
}

std::string TensorInfo::shape_text() const {
  std::string text = "[";
  for (int i = 0; i < n_dims; ++i) {
    if (i > 0) text += ", ";
    text += std::to_string(shape[static_cast<size_t>(i)]);
  }
  return text + "]";
}

GgufFile::Impl::~Impl() {
  if (fd >= 0) ::close(fd);
}

GgufFile::GgufFile(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
GgufFile::GgufFile(GgufFile&&) noexcept = default;
GgufFile& GgufFile::operator=(GgufFile&&) noexcept = default;
GgufFile::~GgufFile() = default;

GgufFile GgufFile::open(const std::string& path, const Limits& limits) {
  // O_NONBLOCK: opening a FIFO must not wait for a writer; it is refused below.
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) throw std::system_error(errno, std::generic_category(), path);
  return adopt(fd, path, limits);
}

GgufFile GgufFile::adopt(int fd, const std::string& path, const Limits& limits) {
  auto impl = std::make_unique<Impl>();
  impl->fd = fd;
  impl->path = path;
  struct stat status {};
  if (::fstat(impl->fd, &status) != 0) throw std::system_error(errno, std::generic_category(), path);
  if (!S_ISREG(status.st_mode)) throw FormatError(path + ": expected a regular file");
  impl->file_size_bytes = static_cast<uint64_t>(status.st_size);
  GgufParser(*impl, limits).parse();
  return GgufFile(std::move(impl));
}

const std::string& GgufFile::path() const { return impl_->path; }
uint32_t GgufFile::version() const { return impl_->version; }
uint64_t GgufFile::file_size_bytes() const { return impl_->file_size_bytes; }
uint64_t GgufFile::data_offset_bytes() const { return impl_->data_offset_bytes; }
uint32_t GgufFile::alignment() const { return impl_->alignment; }
const std::vector<GgufFile::Entry>& GgufFile::metadata() const { return impl_->metadata; }
const std::vector<TensorInfo>& GgufFile::tensors() const { return impl_->tensors; }

const Value* GgufFile::find(std::string_view key) const {
  const auto it = impl_->metadata_index.find(key);
  return it == impl_->metadata_index.end() ? nullptr : &impl_->metadata[it->second].value;
}

const Value& GgufFile::get(std::string_view key) const {
  const Value* value = find(key);
  if (value == nullptr) throw FormatError(path() + ": metadata key '" + std::string(key) + "' is missing");
  return *value;
}

const TensorInfo* GgufFile::find_tensor(std::string_view name) const {
  const auto it = impl_->tensor_index.find(name);
  return it == impl_->tensor_index.end() ? nullptr : &impl_->tensors[it->second];
}

void GgufFile::read(const TensorInfo& tensor, uint64_t offset_bytes, std::span<std::byte> out) const {
  uint64_t end = 0;
  if (!checked_add(offset_bytes, out.size(), end) || end > tensor.size_bytes)
    throw FormatError(path() + ": " + tensor.name + ": expected a range within " + std::to_string(tensor.size_bytes) +
                      " bytes, got " + std::to_string(out.size()) + " at " + std::to_string(offset_bytes));
  uint64_t position = tensor.offset_bytes + offset_bytes;
  size_t done = 0;
  while (done < out.size()) {
    const ssize_t n = ::pread(impl_->fd, out.data() + done, out.size() - done, static_cast<off_t>(position));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw std::system_error(errno, std::generic_category(), path());
    if (n == 0)
      throw FormatError(path() + ": " + tensor.name + ": the file ends at " + std::to_string(position) +
                        ", expected " + std::to_string(out.size() - done) + " more bytes (was it cut short?)");
    done += static_cast<size_t>(n);
    position += static_cast<uint64_t>(n);
  }
}

}  // namespace olx::gguf
