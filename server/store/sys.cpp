#include "server/store/sys.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <string_view>

namespace olx::server::sys {

int open(const char* path, int flags, unsigned mode) { return ::open(path, flags, mode); }
int close(int fd) { return ::close(fd); }
ssize_t read(int fd, void* bytes, size_t n) { return ::read(fd, bytes, n); }
ssize_t pread(int fd, void* bytes, size_t n, uint64_t offset) {
  return ::pread(fd, bytes, n, static_cast<off_t>(offset));
}
ssize_t write(int fd, const void* bytes, size_t n) { return ::write(fd, bytes, n); }
ssize_t pwrite(int fd, const void* bytes, size_t n, uint64_t offset) {
  return ::pwrite(fd, bytes, n, static_cast<off_t>(offset));
}
int fsync(int fd) { return ::fsync(fd); }
int fdatasync(int fd) { return ::fdatasync(fd); }
int ftruncate(int fd, uint64_t size) { return ::ftruncate(fd, static_cast<off_t>(size)); }
int fallocate(int fd, uint64_t size) {
  const int error = ::posix_fallocate(fd, 0, static_cast<off_t>(size));
  if (error == 0) return 0;
  errno = error;
  return -1;
}
int clone(int to_fd, int from_fd) { return ::ioctl(to_fd, FICLONE, from_fd); }
int fchmod(int fd, unsigned mode) { return ::fchmod(fd, mode); }
int flock(int fd, int operation) { return ::flock(fd, operation); }
int fstat(int fd, struct stat* info) { return ::fstat(fd, info); }
int lstat(const char* path, struct stat* info) { return ::lstat(path, info); }
int stat(const char* path, struct stat* info) { return ::stat(path, info); }
int rename(const char* from, const char* to) { return ::rename(from, to); }
int link(const char* from, const char* to) { return ::link(from, to); }
int unlink(const char* path) { return ::unlink(path); }
int mkdir(const char* path, unsigned mode) { return ::mkdir(path, mode); }
int rmdir(const char* path) { return ::rmdir(path); }
int touch(const char* path) { return ::utimensat(AT_FDCWD, path, nullptr, AT_SYMLINK_NOFOLLOW); }

int list_folder(const char* path, std::vector<std::string>* names) {
  DIR* folder = ::opendir(path);
  if (folder == nullptr) return -1;
  errno = 0;
  while (const dirent* entry = ::readdir(folder)) {
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names->emplace_back(name);
    errno = 0;
  }
  const int error = errno;
  ::closedir(folder);
  if (error == 0) return 0;
  errno = error;
  return -1;
}

int free_bytes(const char* path, uint64_t* n) {
  struct statvfs info;
  if (::statvfs(path, &info) != 0) return -1;
  *n = static_cast<uint64_t>(info.f_bavail) * info.f_frsize;
  return 0;
}

int connect(int fd, const struct sockaddr* to, socklen_t size) { return ::connect(fd, to, size); }
ssize_t send(int fd, const void* bytes, size_t n, int flags) { return ::send(fd, bytes, n, flags); }
ssize_t recv(int fd, void* bytes, size_t n, int flags) { return ::recv(fd, bytes, n, flags); }

}  // namespace olx::server::sys
