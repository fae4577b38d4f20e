#include "gguf/reader.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "gguf/check.h"
#include "gguf/checked.h"
#include "gguf/parser.h"
#include "gguf/split.h"

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

bool GgufFile::is_cached() const {
  constexpr uint64_t kStep = 4 << 20;
  int64_t n_looks = 0, n_cached = 0;
  const auto look = [&](const Impl& impl) {
    for (uint64_t offset = impl.data_offset_bytes; offset < impl.file_size_bytes; offset += kStep) {
      std::byte byte;
      const iovec to{.iov_base = &byte, .iov_len = 1};
      ++n_looks;
      n_cached += ::preadv2(impl.fd, &to, 1, static_cast<off_t>(offset), RWF_NOWAIT) == 1;
    }
  };
  look(*impl_);
  for (const GgufFile& part : impl_->more_parts) look(*part.impl_);
  return 16 * (n_looks - n_cached) <= n_looks;  // the system lets go of a page here and there
}

GgufFile GgufFile::open(const std::string& path, const Limits& limits) {
  GgufFile first = open_part(path, limits);
  const SplitPlace place = split_place(first);
  if (place.n_parts == 1) return first;
  const auto name = parse_split_name(path);
  if (!name || name->number != 1 || name->n_parts != place.n_parts) {
    const SplitName expected{name ? name->stem : "NAME", 1, place.n_parts};
    throw FormatError(path + ": part " + std::to_string(place.number + 1) + " of " + std::to_string(place.n_parts) +
                      " of a split model: expected to be given the first, called " + expected.file_name(1));
  }
  std::vector<GgufFile> parts;
  for (uint64_t number = 2; number <= name->n_parts; ++number) parts.push_back(open_part(name->file_name(number), limits));
  first.join(std::move(parts));
  return first;
}

GgufFile GgufFile::open_parts(const std::vector<std::string>& paths, const Limits& limits) {
  OLX_CHECK(!paths.empty());
  GgufFile first = open_part(paths[0], limits);
  std::vector<GgufFile> parts;
  for (size_t i = 1; i < paths.size(); ++i) parts.push_back(open_part(paths[i], limits));
  first.join(std::move(parts));
  return first;
}

// The parts must say that they are these parts, and have each tensor once.
void GgufFile::join(std::vector<GgufFile> parts) {
  const uint64_t n_parts = parts.size() + 1;
  const auto check_place = [&](const GgufFile& file, uint64_t number) {
    const SplitPlace place = split_place(file);
    if (place.number != number || place.n_parts != n_parts)
      throw FormatError(file.path() + ": expected part " + std::to_string(number + 1) + " of " + std::to_string(n_parts) + ", got part " +
                        std::to_string(place.number + 1) + " of " + std::to_string(place.n_parts));
  };
  check_place(*this, 0);
  std::vector<TensorInfo> tensors = std::move(impl_->tensors);
  for (size_t i = 0; i < parts.size(); ++i) {
    check_place(parts[i], i + 1);
    for (TensorInfo& tensor : parts[i].impl_->tensors) {
      tensor.part = static_cast<uint32_t>(i + 1);
      tensors.push_back(std::move(tensor));
    }
    parts[i].impl_->tensors.clear();
    parts[i].impl_->tensor_index.clear();
  }
  if (const Value* count = find("split.tensors.count"); count != nullptr && count->as_uint("split.tensors.count") != tensors.size())
    throw FormatError(path() + ": split.tensors.count: expected the " + std::to_string(tensors.size()) + " tensors that the parts have, got " +
                      std::to_string(count->as_uint("split.tensors.count")));
  impl_->tensors = std::move(tensors);
  impl_->tensor_index.clear();
  for (size_t i = 0; i < impl_->tensors.size(); ++i)
    if (!impl_->tensor_index.emplace(impl_->tensors[i].name, i).second)
      throw FormatError(path() + ": tensor " + impl_->tensors[i].name + " is in more than one part");
  impl_->more_parts = std::move(parts);
}

GgufFile GgufFile::open_part(const std::string& path, const Limits& limits) {
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
uint64_t GgufFile::file_size_bytes() const {
  uint64_t size_bytes = impl_->file_size_bytes;  // sizes of files that exist: no sum of them overflows
  for (const GgufFile& part : impl_->more_parts) size_bytes += part.impl_->file_size_bytes;
  return size_bytes;
}
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
  const Impl& holder = tensor.part == 0 ? *impl_ : *impl_->more_parts[tensor.part - 1].impl_;
  uint64_t position = tensor.offset_bytes + offset_bytes;
  size_t done = 0;
  while (done < out.size()) {
    const ssize_t n = ::pread(holder.fd, out.data() + done, out.size() - done, static_cast<off_t>(position));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw std::system_error(errno, std::generic_category(), holder.path);
    if (n == 0)
      throw FormatError(holder.path + ": " + tensor.name + ": the file ends at " + std::to_string(position) +
                        ", expected " + std::to_string(out.size() - done) + " more bytes (was it cut short?)");
    done += static_cast<size_t>(n);
    position += static_cast<uint64_t>(n);
  }
}

}  // namespace olx::gguf
