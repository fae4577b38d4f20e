#pragma once
// The fault seam: every system call by which the store and the downloads touch the disk and the network, under its own name and with its own
// errno. files.h is built on it; nothing else in server/store calls the kernel for files. sys.cpp passes each call on and is what a
// program is linked with. A test program that brings its own definitions (tests/support/faults/) is linked with those instead,
// since an archive member is not taken when its symbols are there already: a release has no table, no branch and no switch by
// which faults could be turned on, only a call before a system call. Not here: mmap, which the store never uses.

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>

namespace olx::server::sys {

// All return -1 and set errno when they fail, as the calls of the same name in POSIX do.
int open(const char* path, int flags, unsigned mode);
int close(int fd);
ssize_t read(int fd, void* bytes, size_t n);
ssize_t pread(int fd, void* bytes, size_t n, uint64_t offset);
ssize_t write(int fd, const void* bytes, size_t n);
ssize_t pwrite(int fd, const void* bytes, size_t n, uint64_t offset);
int fsync(int fd);
int fdatasync(int fd);
int ftruncate(int fd, uint64_t size);
int fallocate(int fd, uint64_t size);  // posix_fallocate from 0
int clone(int to_fd, int from_fd);  // ioctl FICLONE: the same bytes, on the disk once; fails where the file system has no such thing
int fchmod(int fd, unsigned mode);
int flock(int fd, int operation);
int fstat(int fd, struct stat* info);
int lstat(const char* path, struct stat* info);
int stat(const char* path, struct stat* info);
int rename(const char* from, const char* to);
int link(const char* from, const char* to);
int unlink(const char* path);
int mkdir(const char* path, unsigned mode);
int rmdir(const char* path);
int touch(const char* path);                                             // utimensat: both times now
int list_folder(const char* path, std::vector<std::string>* names);      // opendir, readdir; without "." and ".."
int free_bytes(const char* path, uint64_t* n);                           // statvfs: what this user may still write

// For downloads.
int connect(int fd, const struct sockaddr* to, socklen_t size);
ssize_t send(int fd, const void* bytes, size_t n, int flags);
ssize_t recv(int fd, void* bytes, size_t n, int flags);

}  // namespace olx::server::sys
