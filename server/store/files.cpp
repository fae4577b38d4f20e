#include "server/store/files.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <random>
#include <system_error>
#include <thread>
#include <utility>

#include "server/store/sys.h"

namespace olx::server {
namespace fs = std::filesystem;
namespace {

[[noreturn]] void fail(const std::string& doing, const fs::path& path) {
  throw std::system_error(errno, std::generic_category(), doing + " " + path.filename().string());
}

[[noreturn]] void fail_sync(const fs::path& path) {
  throw SyncError(errno, std::generic_category(), "sync " + path.filename().string());
}

int open_checked(const fs::path& path, int flags, unsigned mode, const char* doing) {
  for (;;) {
    const int fd = sys::open(path.c_str(), flags | O_CLOEXEC, mode);
    if (fd >= 0) return fd;
    if (errno != EINTR) fail(doing, path);
  }
}

bool is_missing(int error) { return error == ENOENT || error == ENOTDIR; }

FileInfo info_of(const struct stat& info) {
  FileInfo out;
  out.is_plain = S_ISREG(info.st_mode);
  out.is_folder = S_ISDIR(info.st_mode);
  out.is_writable = (info.st_mode & 0222) != 0;
  out.size_bytes = static_cast<uint64_t>(info.st_size);
  out.modified_ns = static_cast<int64_t>(info.st_mtim.tv_sec) * 1'000'000'000 + info.st_mtim.tv_nsec;
  return out;
}

}  // namespace

File File::open_for_reading(const fs::path& path) {
  return File(open_checked(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0, "open"), path);
}

File File::open_following_links(const fs::path& path) { return File(open_checked(path, O_RDONLY, 0, "open"), path); }

File File::create_exclusively(const fs::path& path, unsigned mode) {
  const int fd = open_checked(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, mode, "create");
  sys::flock(fd, LOCK_EX | LOCK_NB);  // where a file system has no locks nothing is ever collected: see Store
  return File(fd, path);
}

File File::open_for_update(const fs::path& path, unsigned mode) {
  const int fd = open_checked(path, O_RDWR | O_CREAT | O_NOFOLLOW, mode, "open");
  sys::flock(fd, LOCK_EX | LOCK_NB);
  return File(fd, path);
}

File::~File() {
  if (fd_ >= 0) sys::close(fd_);
}
File::File(File&& other) noexcept : fd_(std::exchange(other.fd_, -1)), path_(std::move(other.path_)) {}
File& File::operator=(File&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(path_, other.path_);
  return *this;
}

size_t File::read(std::span<char> out) const {
  for (;;) {
    const ssize_t n = sys::read(fd_, out.data(), out.size());
    if (n >= 0) return static_cast<size_t>(n);
    if (errno != EINTR) fail("read", path_);
  }
}

size_t File::read_at(std::span<char> out, uint64_t offset) const {
  size_t n_read = 0;
  while (n_read < out.size()) {
    const ssize_t n = sys::pread(fd_, out.data() + n_read, out.size() - n_read, offset + n_read);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail("read", path_);
    if (n == 0) break;
    n_read += static_cast<size_t>(n);
  }
  return n_read;
}

void File::write_all(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = sys::write(fd_, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail("write", path_);
    bytes.remove_prefix(static_cast<size_t>(n));
  }
}

void File::write_at(std::string_view bytes, uint64_t offset) {
  while (!bytes.empty()) {
    const ssize_t n = sys::pwrite(fd_, bytes.data(), bytes.size(), offset);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail("write", path_);
    bytes.remove_prefix(static_cast<size_t>(n));
    offset += static_cast<uint64_t>(n);
  }
}

void File::reserve(uint64_t size_bytes) {
  if (size_bytes > 0 && sys::fallocate(fd_, size_bytes) != 0) fail("reserve room for", path_);
}

bool File::clone_from(const File& other) { return sys::clone(fd_, other.fd_) == 0; }

void File::truncate(uint64_t size_bytes) {
  if (sys::ftruncate(fd_, size_bytes) != 0) fail("cut", path_);
}

void File::set_mode(unsigned mode) {
  if (sys::fchmod(fd_, mode) != 0) fail("set the mode of", path_);
}

void File::sync() {
  if (sys::fsync(fd_) != 0) fail_sync(path_);
}

void File::sync_data() {
  if (sys::fdatasync(fd_) != 0) fail_sync(path_);
}

uint64_t File::size() const {
  struct stat info;
  if (sys::fstat(fd_, &info) != 0) fail("stat", path_);
  return static_cast<uint64_t>(info.st_size);
}

void File::close() {
  if (sys::close(std::exchange(fd_, -1)) != 0) fail("close", path_);
}

FileLock FileLock::shared(const fs::path& path) {
  FileLock lock(open_checked(path, O_RDWR | O_CREAT, 0644, "open lock"));
  while (sys::flock(lock.fd_, LOCK_SH) != 0) {
    // Without locks nobody can take the exclusive one either, so nothing is swept and nothing has to be held off.
    if (errno == ENOLCK || errno == ENOSYS || errno == EOPNOTSUPP) break;
    if (errno != EINTR) fail("lock", path);
  }
  return lock;
}

std::optional<FileLock> FileLock::try_exclusive(const fs::path& path, std::chrono::milliseconds patience) {
  const auto last = std::chrono::steady_clock::now() + patience;
  for (;;) {
    FileLock lock(open_checked(path, O_RDWR | O_CREAT, 0644, "open lock"));
    while (sys::flock(lock.fd_, LOCK_EX | LOCK_NB) != 0) {
      if (errno == EINTR) continue;
      if (errno != EWOULDBLOCK) fail("lock", path);
      if (std::chrono::steady_clock::now() >= last) return std::nullopt;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    // Who had it may have removed the file before letting go: the next one makes and locks another file of that name.
    struct stat info;
    if (sys::fstat(lock.fd_, &info) != 0) fail("stat", path);
    if (info.st_nlink > 0) return lock;
  }
}

FileLock::~FileLock() {
  if (fd_ >= 0) sys::close(fd_);
}
FileLock::FileLock(FileLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

std::optional<FileInfo> file_info(const fs::path& path) {
  struct stat info;
  if (sys::lstat(path.c_str(), &info) == 0) return info_of(info);
  if (is_missing(errno)) return std::nullopt;
  fail("stat", path);
}

bool is_plain_file(const fs::path& path) {
  struct stat info;
  return sys::lstat(path.c_str(), &info) == 0 && S_ISREG(info.st_mode);
}

std::vector<std::string> list_folder(const fs::path& folder) {
  std::vector<std::string> names;
  if (sys::list_folder(folder.c_str(), &names) != 0) {
    if (is_missing(errno)) return {};
    fail("read folder", folder);
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::optional<std::string> read_small_file(const fs::path& path, uint64_t max_bytes) {
  const std::optional<FileInfo> info = file_info(path);
  if (!info) return std::nullopt;
  if (!info->is_plain || info->size_bytes > max_bytes) {
    errno = info->is_plain ? EFBIG : EINVAL;
    fail("read", path);
  }
  std::optional<File> file;
  try {
    file = File::open_for_reading(path);
  } catch (const std::system_error& error) {  // removed between the two calls
    if (is_missing(error.code().value())) return std::nullopt;
    throw;
  }
  std::string text(static_cast<size_t>(info->size_bytes), '\0');
  text.resize(file->read_at(text, 0));
  return text;
}

void sync_folder(const fs::path& folder) {
  const int fd = open_checked(folder, O_RDONLY | O_DIRECTORY, 0, "open");
  const int result = sys::fsync(fd);
  const int error = errno;
  sys::close(fd);
  errno = error;
  if (result != 0) fail("sync", folder);
}

void sync_file(const fs::path& path) { File::open_for_reading(path).sync(); }

void create_folders(const fs::path& folder) {
  struct stat info;
  // A link to a folder is as good: blobs/ may lie on another disk.
  if (sys::stat(folder.c_str(), &info) == 0 && S_ISDIR(info.st_mode)) return;
  if (folder.has_parent_path() && folder.parent_path() != folder) create_folders(folder.parent_path());
  if (sys::mkdir(folder.c_str(), 0755) != 0 && errno != EEXIST) fail("create folder", folder);
  sync_folder(folder.parent_path().empty() ? fs::path(".") : folder.parent_path());
}

bool is_on_another_disk(const fs::path& a, const fs::path& b) {
  struct stat first, second;
  return sys::stat(a.c_str(), &first) == 0 && sys::stat(b.c_str(), &second) == 0 && first.st_dev != second.st_dev;
}

void rename_file(const fs::path& from, const fs::path& to) {
  if (sys::rename(from.c_str(), to.c_str()) != 0) fail("rename to", to);
}

void publish(const fs::path& from, const fs::path& to) {
  rename_file(from, to);
  sync_folder(to.parent_path());
}

bool remove_file(const fs::path& path) {
  if (sys::unlink(path.c_str()) == 0) return true;
  if (is_missing(errno)) return false;
  fail("remove", path);
}

bool remove_empty_folder(const fs::path& folder) { return sys::rmdir(folder.c_str()) == 0; }
void remove_quietly(const fs::path& path) noexcept { sys::unlink(path.c_str()); }
bool touch(const fs::path& path) { return sys::touch(path.c_str()) == 0; }
bool link_file(const fs::path& from, const fs::path& to) { return sys::link(from.c_str(), to.c_str()) == 0; }

bool is_being_written(const fs::path& path) {
  const int fd = sys::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0);
  if (fd < 0) return errno != ENOENT;  // unknown: it is left alone
  const bool is_held = sys::flock(fd, LOCK_EX | LOCK_NB) != 0;
  sys::close(fd);
  return is_held;
}

uint64_t free_bytes(const fs::path& folder) {
  uint64_t n = 0;
  if (sys::free_bytes(folder.c_str(), &n) != 0) fail("ask for the room in", folder);
  return n;
}

std::string unique_name(std::string_view suffix) {
  static std::atomic<uint64_t> n_made{0};
  std::random_device random;
  return std::to_string(::getpid()) + "-" + std::to_string(n_made++) + "-" + std::to_string(random()) +
         std::string(suffix);
}

}  // namespace olx::server
