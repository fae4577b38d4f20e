#include "server/store/files.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <random>
#include <system_error>
#include <utility>

namespace olx::server {
namespace fs = std::filesystem;
namespace {

[[noreturn]] void fail(const std::string& doing, const fs::path& path) {
  throw std::system_error(errno, std::generic_category(), doing + " " + path.filename().string());
}

int open_checked(const fs::path& path, int flags, unsigned mode, const char* doing) {
  const int fd = ::open(path.c_str(), flags | O_CLOEXEC, mode);
  if (fd < 0) fail(doing, path);
  return fd;
}

}  // namespace

File File::open_for_reading(const fs::path& path) { return File(open_checked(path, O_RDONLY, 0, "open"), path); }

File File::create_exclusively(const fs::path& path, unsigned mode) {
  const int fd = open_checked(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode, "create");
  ::flock(fd, LOCK_EX | LOCK_NB);  // where a file system has no locks, its age protects the file
  return File(fd, path);
}

File::~File() {
  if (fd_ >= 0) ::close(fd_);
}
File::File(File&& other) noexcept : fd_(std::exchange(other.fd_, -1)), path_(std::move(other.path_)) {}
File& File::operator=(File&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(path_, other.path_);
  return *this;
}

size_t File::read(std::span<char> out) const {
  for (;;) {
    const ssize_t n = ::read(fd_, out.data(), out.size());
    if (n >= 0) return static_cast<size_t>(n);
    if (errno != EINTR) fail("read", path_);
  }
}

void File::write_all(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd_, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail("write", path_);
    bytes.remove_prefix(static_cast<size_t>(n));
  }
}

void File::sync() {
  if (::fsync(fd_) != 0) fail("sync", path_);
}

void File::close() {
  if (::close(std::exchange(fd_, -1)) != 0) fail("close", path_);
}

FileLock FileLock::shared(const fs::path& path) {
  FileLock lock(open_checked(path, O_RDWR | O_CREAT, 0644, "open lock"));
  while (::flock(lock.fd_, LOCK_SH) != 0)
    if (errno != EINTR) fail("lock", path);
  return lock;
}

std::optional<FileLock> FileLock::try_exclusive(const fs::path& path) {
  FileLock lock(open_checked(path, O_RDWR | O_CREAT, 0644, "open lock"));
  while (::flock(lock.fd_, LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) return std::nullopt;
    if (errno != EINTR) fail("lock", path);
  }
  return lock;
}

FileLock::~FileLock() {
  if (fd_ >= 0) ::close(fd_);
}
FileLock::FileLock(FileLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

std::optional<std::string> read_small_file(const fs::path& path, uint64_t max_bytes) {
  struct stat info;
  if (::lstat(path.c_str(), &info) != 0) {
    if (errno == ENOENT || errno == ENOTDIR) return std::nullopt;
    fail("stat", path);
  }
  if (!S_ISREG(info.st_mode) || static_cast<uint64_t>(info.st_size) > max_bytes) {
    errno = S_ISREG(info.st_mode) ? EFBIG : EINVAL;
    fail("read", path);
  }
  const File file = File::open_for_reading(path);
  std::string text(static_cast<size_t>(info.st_size), '\0');
  size_t n_read = 0;
  while (n_read < text.size()) {
    const size_t n = file.read(std::span(text).subspan(n_read));
    if (n == 0) break;
    n_read += n;
  }
  text.resize(n_read);
  return text;
}

void sync_folder(const fs::path& folder) {
  const int fd = open_checked(folder, O_RDONLY | O_DIRECTORY, 0, "open");
  const int result = ::fsync(fd);
  ::close(fd);
  if (result != 0) fail("sync", folder);
}

void create_folders(const fs::path& folder) {
  if (fs::is_directory(folder)) return;
  if (folder.has_parent_path() && folder.parent_path() != folder) create_folders(folder.parent_path());
  if (::mkdir(folder.c_str(), 0755) != 0 && errno != EEXIST) fail("create folder", folder);
  sync_folder(folder.parent_path().empty() ? fs::path(".") : folder.parent_path());
}

void publish(const fs::path& from, const fs::path& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) fail("rename to", to);
  sync_folder(to.parent_path());
}

bool is_plain_file(const fs::path& path) {
  struct stat info;
  return ::lstat(path.c_str(), &info) == 0 && S_ISREG(info.st_mode);
}

bool is_being_written(const fs::path& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return false;
  const bool is_held = ::flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
  ::close(fd);
  return is_held;
}

std::string unique_name(std::string_view suffix) {
  static std::atomic<uint64_t> n_made{0};
  std::random_device random;
  return std::to_string(::getpid()) + "-" + std::to_string(n_made++) + "-" + std::to_string(random()) +
         std::string(suffix);
}

}  // namespace olx::server
