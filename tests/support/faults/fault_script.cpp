#include "tests/support/faults/fault_script.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <map>
#include <mutex>
#include <optional>
#include <string_view>
#include <thread>

#include "server/store/sys.h"

namespace olx::tests::faults {
namespace {

struct Script {
  std::mutex mutex;
  std::optional<Fault> fault;
  int n_calls = 0;
  bool is_met = false;

  bool is_recording = false, is_lying = false;
  std::string root;
  std::vector<DiskEvent> events;
  std::map<uint64_t, int> file_of_inode;
  int n_files = 0;
};

Script& script() {
  static Script one;
  return one;
}

enum class Verdict { kPass, kFail, kHalf, kHalfAndKill };

[[noreturn]] void die() {
  ::kill(::getpid(), SIGKILL);
  for (;;) ::pause();
}

Verdict ask(Call call) {
  Script& s = script();
  std::unique_lock lock(s.mutex);
  if (!s.fault || (s.fault->call != Call::kAny && s.fault->call != call)) return Verdict::kPass;
  const int n = ++s.n_calls;
  if (n != s.fault->n && !(s.fault->for_ever && n > s.fault->n)) return Verdict::kPass;
  s.is_met = true;
  switch (s.fault->kind) {
    case Fault::Kind::kError:
      errno = s.fault->error;
      return Verdict::kFail;
    case Fault::Kind::kShortWrite:
      return Verdict::kHalf;
    case Fault::Kind::kKill:
      die();
    case Fault::Kind::kTornKill:
      return Verdict::kHalfAndKill;
    case Fault::Kind::kDelay: {
      const int delay_ms = s.fault->delay_ms;
      lock.unlock();
      std::this_thread::sleep_for(std::chrono::milliseconds(delay_ms));
      return Verdict::kPass;
    }
  }
  return Verdict::kPass;
}

// nullopt when it is not below the recorded folder.
std::optional<std::string> below_root(const char* path) {
  const std::string root = script().root + "/";
  const std::string_view text = path;
  if (text == script().root) return "";
  if (!text.starts_with(root)) return std::nullopt;
  return std::string(text.substr(root.size()));
}

std::optional<std::string> path_of(int fd) {
  std::string text(4096, '\0');
  const ssize_t n =
      ::readlink(("/proc/self/fd/" + std::to_string(fd)).c_str(), text.data(), text.size());
  if (n < 0) return std::nullopt;
  text.resize(static_cast<size_t>(n));
  return below_root(text.c_str());
}

int file_of(const struct stat& info) {
  const auto found = script().file_of_inode.find(info.st_ino);
  return found == script().file_of_inode.end() ? -1 : found->second;
}

// Adds an event while a recording goes on; what is not below its folder is no event.
template <class F>
void record(F make) {
  Script& s = script();
  const int error = errno;
  {
    const std::lock_guard lock(s.mutex);
    if (s.is_recording)
      if (std::optional<DiskEvent> event = make()) s.events.push_back(std::move(*event));
  }
  errno = error;
}

void record_write(int fd, uint64_t offset, std::string_view bytes) {
  record([&]() -> std::optional<DiskEvent> {
    struct stat info;
    if (::fstat(fd, &info) != 0 || file_of(info) < 0) return std::nullopt;
    return DiskEvent{DiskEvent::Kind::kWrite, file_of(info), {}, {}, offset, std::string(bytes)};
  });
}

void record_resize(int fd, uint64_t size) {
  record([&]() -> std::optional<DiskEvent> {
    struct stat info;
    if (::fstat(fd, &info) != 0 || file_of(info) < 0) return std::nullopt;
    return DiskEvent{DiskEvent::Kind::kResize, file_of(info), {}, {}, size, {}};
  });
}

void record_sync(int fd) {
  record([&]() -> std::optional<DiskEvent> {
    struct stat info;
    if (script().is_lying || ::fstat(fd, &info) != 0) return std::nullopt;
    if (S_ISDIR(info.st_mode)) {
      const auto path = path_of(fd);
      if (!path) return std::nullopt;
      return DiskEvent{DiskEvent::Kind::kSyncFolder, -1, *path, {}, 0, {}};
    }
    if (file_of(info) < 0) return std::nullopt;
    return DiskEvent{DiskEvent::Kind::kSyncFile, file_of(info), {}, {}, 0, {}};
  });
}

void record_name(DiskEvent::Kind kind, const char* path, const char* to = nullptr) {
  record([&]() -> std::optional<DiskEvent> {
    const auto from_path = below_root(path);
    if (!from_path) return std::nullopt;
    DiskEvent event{kind, -1, *from_path, {}, 0, {}};
    if (to == nullptr) return event;
    const auto to_path = below_root(to);
    struct stat info;
    if (!to_path || ::lstat(to, &info) != 0) return std::nullopt;
    event.to = *to_path;
    event.file = file_of(info);
    return event;
  });
}

// A write or a read as the script wants it. kHalf of a single byte is that byte.
template <class F>
ssize_t transfer(Call call, size_t n, F f) {
  switch (ask(call)) {
    case Verdict::kPass:
      return f(n);
    case Verdict::kFail:
      return -1;
    case Verdict::kHalf:
      return f(n > 1 ? n / 2 : n);
    case Verdict::kHalfAndKill:
      f(n / 2), die();
  }
  return -1;
}

bool passes(Call call) { return ask(call) != Verdict::kFail; }

}  // namespace

const char* name_of(Call call) {
  constexpr const char* kNames[] = {"any",         "open",       "close",     "read",  "write",
                                    "fsync",       "ftruncate",  "fallocate", "clone", "fchmod",
                                    "flock",       "fstat",      "lstat",     "stat",  "rename",
                                    "link",        "unlink",     "mkdir",     "rmdir", "touch",
                                    "list_folder", "free_bytes", "connect",   "send",  "recv"};
  return kNames[static_cast<size_t>(call)];
}

void arm(const Fault& fault) {
  const std::lock_guard lock(script().mutex);
  script().fault = fault;
  script().n_calls = 0;
  script().is_met = false;
}

void disarm() {
  const std::lock_guard lock(script().mutex);
  script().fault.reset();
}

int n_calls() { return script().n_calls; }
bool is_met() { return script().is_met; }

void start_recording(const std::string& folder) {
  Script& s = script();
  const std::lock_guard lock(s.mutex);
  s.root = folder;
  s.events.clear();
  s.file_of_inode.clear();
  s.n_files = 0;
  namespace fs = std::filesystem;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    struct stat info;
    if (::lstat(entry.path().c_str(), &info) != 0) continue;
    const std::string path = *below_root(entry.path().c_str());
    if (S_ISDIR(info.st_mode)) {
      s.events.push_back({DiskEvent::Kind::kMakeFolder, -1, path, {}, 0, {}});
      continue;
    }
    const int file = s.n_files++;
    s.file_of_inode[info.st_ino] = file;
    std::string bytes(static_cast<size_t>(info.st_size), '\0');
    const int fd = ::open(entry.path().c_str(), O_RDONLY);
    [[maybe_unused]] const ssize_t n = ::read(fd, bytes.data(), bytes.size());
    ::close(fd);
    s.events.push_back({DiskEvent::Kind::kCreate, file, path, {}, 0, {}});
    s.events.push_back({DiskEvent::Kind::kWrite, file, {}, {}, 0, bytes});
    s.events.push_back({DiskEvent::Kind::kSyncFile, file, {}, {}, 0, {}});
  }
  std::vector<std::string> folders = {""};
  for (const DiskEvent& event : s.events)
    if (event.kind == DiskEvent::Kind::kMakeFolder) folders.push_back(event.path);
  for (const std::string& path : folders)
    s.events.push_back({DiskEvent::Kind::kSyncFolder, -1, path, {}, 0, {}});
  s.events.push_back({DiskEvent::Kind::kMark, -1, "start", {}, 0, {}});
  s.is_recording = true;
}

std::vector<DiskEvent> stop_recording() {
  const std::lock_guard lock(script().mutex);
  script().is_recording = false;
  return std::move(script().events);
}

void mark(const std::string& text) {
  record([&] { return std::optional<DiskEvent>({DiskEvent::Kind::kMark, -1, text, {}, 0, {}}); });
}

void lie_about_syncs(bool is_lying) { script().is_lying = is_lying; }

}  // namespace olx::tests::faults

namespace olx::server::sys {
using namespace olx::tests::faults;
using Kind = DiskEvent::Kind;

int open(const char* path, int flags, unsigned mode) {
  if (!passes(Call::kOpen)) return -1;
  struct stat before;
  const bool is_new = (flags & O_CREAT) != 0 && ::lstat(path, &before) != 0;
  const int fd = ::open(path, flags, mode);
  if (fd >= 0 && is_new)
    record([&]() -> std::optional<DiskEvent> {
      struct stat info;
      const auto below = below_root(path);
      if (!below || ::fstat(fd, &info) != 0) return std::nullopt;
      const int file = script().n_files++;
      script().file_of_inode[info.st_ino] = file;  // the number of a removed file may come again
      return DiskEvent{Kind::kCreate, file, *below, {}, 0, {}};
    });
  return fd;
}

int close(int fd) {
  const bool is_passed = passes(Call::kClose);
  const int error = errno;
  const int result = ::close(fd);  // also when it fails, as the kernel does
  if (is_passed) return result;
  errno = error;
  return -1;
}

ssize_t read(int fd, void* bytes, size_t n) {
  return transfer(Call::kRead, n, [&](size_t n_bytes) { return ::read(fd, bytes, n_bytes); });
}
ssize_t pread(int fd, void* bytes, size_t n, uint64_t offset) {
  return transfer(Call::kRead, n, [&](size_t n_bytes) {
    return ::pread(fd, bytes, n_bytes, static_cast<off_t>(offset));
  });
}
ssize_t write(int fd, const void* bytes, size_t n) {
  return transfer(Call::kWrite, n, [&](size_t n_bytes) {
    const off_t offset = ::lseek(fd, 0, SEEK_CUR);
    const ssize_t n_done = ::write(fd, bytes, n_bytes);
    if (n_done > 0)
      record_write(fd, static_cast<uint64_t>(offset),
                   {static_cast<const char*>(bytes), static_cast<size_t>(n_done)});
    return n_done;
  });
}
ssize_t pwrite(int fd, const void* bytes, size_t n, uint64_t offset) {
  return transfer(Call::kWrite, n, [&](size_t n_bytes) {
    const ssize_t n_done = ::pwrite(fd, bytes, n_bytes, static_cast<off_t>(offset));
    if (n_done > 0)
      record_write(fd, offset, {static_cast<const char*>(bytes), static_cast<size_t>(n_done)});
    return n_done;
  });
}

// The disk is a model while a recording goes on: the real one need not be waited for, nor when a
// fault is armed.
int fsync(int fd) {
  if (!passes(Call::kFsync)) return -1;
  record_sync(fd);
  return 0;
}
int fdatasync(int fd) { return fsync(fd); }

int ftruncate(int fd, uint64_t size) {
  if (!passes(Call::kFtruncate)) return -1;
  const int result = ::ftruncate(fd, static_cast<off_t>(size));
  if (result == 0) record_resize(fd, size);
  return result;
}
int fallocate(int fd, uint64_t size) {
  if (!passes(Call::kFallocate)) return -1;
  const int error = ::posix_fallocate(fd, 0, static_cast<off_t>(size));
  if (error == 0) return record_resize(fd, size), 0;
  errno = error;
  return -1;
}
int clone(int to_fd, int from_fd) {
  if (!passes(Call::kClone)) return -1;
  char piece[65536];
  for (off_t offset = 0;;) {
    const ssize_t n = ::pread(from_fd, piece, sizeof piece, offset);
    if (n < 0) return -1;
    if (n == 0) return 0;
    if (::pwrite(to_fd, piece, static_cast<size_t>(n), offset) != n) return -1;
    record_write(to_fd, static_cast<uint64_t>(offset), {piece, static_cast<size_t>(n)});
    offset += n;
  }
}
int fchmod(int fd, unsigned mode) { return passes(Call::kFchmod) ? ::fchmod(fd, mode) : -1; }
int flock(int fd, int operation) { return passes(Call::kFlock) ? ::flock(fd, operation) : -1; }
int fstat(int fd, struct stat* info) { return passes(Call::kFstat) ? ::fstat(fd, info) : -1; }
int lstat(const char* path, struct stat* info) {
  return passes(Call::kLstat) ? ::lstat(path, info) : -1;
}
int stat(const char* path, struct stat* info) {
  return passes(Call::kStat) ? ::stat(path, info) : -1;
}

int rename(const char* from, const char* to) {
  if (!passes(Call::kRename)) return -1;
  const int result = ::rename(from, to);
  if (result == 0) record_name(Kind::kRename, from, to);
  return result;
}
int link(const char* from, const char* to) {
  if (!passes(Call::kLink)) return -1;
  const int result = ::link(from, to);
  if (result == 0) record_name(Kind::kLink, from, to);
  return result;
}
int unlink(const char* path) {
  if (!passes(Call::kUnlink)) return -1;
  const int result = ::unlink(path);
  if (result == 0) record_name(Kind::kUnlink, path);
  return result;
}
int mkdir(const char* path, unsigned mode) {
  if (!passes(Call::kMkdir)) return -1;
  const int result = ::mkdir(path, mode);
  if (result == 0) record_name(Kind::kMakeFolder, path);
  return result;
}
int rmdir(const char* path) {
  if (!passes(Call::kRmdir)) return -1;
  const int result = ::rmdir(path);
  if (result == 0) record_name(Kind::kRemoveFolder, path);
  return result;
}
int touch(const char* path) {
  return passes(Call::kTouch) ? ::utimensat(AT_FDCWD, path, nullptr, AT_SYMLINK_NOFOLLOW) : -1;
}

int list_folder(const char* path, std::vector<std::string>* names) {
  if (!passes(Call::kListFolder)) return -1;
  DIR* folder = ::opendir(path);
  if (folder == nullptr) return -1;
  while (const dirent* entry = ::readdir(folder)) {
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names->emplace_back(name);
  }
  ::closedir(folder);
  return 0;
}

int free_bytes(const char* path, uint64_t* n) {
  if (!passes(Call::kFreeBytes)) return -1;
  struct statvfs info;
  if (::statvfs(path, &info) != 0) return -1;
  *n = static_cast<uint64_t>(info.f_bavail) * info.f_frsize;
  return 0;
}

int connect(int fd, const struct sockaddr* to, socklen_t size) {
  return passes(Call::kConnect) ? ::connect(fd, to, size) : -1;
}
ssize_t send(int fd, const void* bytes, size_t n, int flags) {
  return transfer(Call::kSend, n,
                  [&](size_t n_bytes) { return ::send(fd, bytes, n_bytes, flags); });
}
ssize_t recv(int fd, void* bytes, size_t n, int flags) {
  return transfer(Call::kRecv, n,
                  [&](size_t n_bytes) { return ::recv(fd, bytes, n_bytes, flags); });
}

}  // namespace olx::server::sys
