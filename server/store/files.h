#pragma once
// Files as the store and the downloads need them: every result checked, made durable before they get their final name. All of
// it goes through sys.h, so that tests can make any call fail. Each function throws std::system_error naming the file, without
// its folders. Not for model weights while they are in use: gguf/reader.h reads those.

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

namespace olx::server {

// Of a file that could not be synced. The kernel says once that it could not write what it had, and then calls it clean: the
// bytes can be read and the next sync succeeds, and yet they may never have reached the disk. Nothing of it is to be kept.
class SyncError : public std::system_error {
 public:
  using std::system_error::system_error;
};

// An open file descriptor.
class File {
 public:
  static File open_for_reading(const std::filesystem::path& path);  // a link at its end is refused
  static File open_following_links(const std::filesystem::path& path);  // for a user's file, not for one of the store
  // Readable and writable. The new file is locked until it is closed, by whatever end of the process too: see is_being_written().
  static File create_exclusively(const std::filesystem::path& path, unsigned mode);
  // For a download that may go on later: kept when it is there, and locked like a new one where nobody else holds it.
  static File open_for_update(const std::filesystem::path& path, unsigned mode);
  ~File();
  File(File&& other) noexcept;
  File& operator=(File&& other) noexcept;

  size_t read(std::span<char> out) const;  // 0: end of file
  size_t read_at(std::span<char> out, uint64_t offset) const;  // less than asked for: end of file
  void write_all(std::string_view bytes);  // at the end of what was written so far
  void write_at(std::string_view bytes, uint64_t offset);
  void reserve(uint64_t size_bytes);  // takes the room on the disk now, and grows the file to it
  // Makes this file, which is empty, the same as the other without copying its bytes. False where that cannot be had.
  bool clone_from(const File& other);
  void truncate(uint64_t size_bytes);
  void set_mode(unsigned mode);
  void sync();       // SyncError
  void sync_data();  // the same, without times
  uint64_t size() const;
  void close();
  bool is_open() const { return fd_ >= 0; }

 private:
  File(int fd, std::filesystem::path path) : fd_(fd), path_(std::move(path)) {}
  int fd_ = -1;
  std::filesystem::path path_;
};

// A lock on a file that other processes honour too; released with the object.
class FileLock {
 public:
  static FileLock shared(const std::filesystem::path& path);
  // nullopt when somebody holds it, after having tried for `patience`. A file system without locks is an error.
  static std::optional<FileLock> try_exclusive(const std::filesystem::path& path, std::chrono::milliseconds patience = {});
  ~FileLock();
  FileLock(FileLock&& other) noexcept;
  FileLock& operator=(FileLock&&) = delete;

 private:
  explicit FileLock(int fd) : fd_(fd) {}
  int fd_ = -1;
};

struct FileInfo {
  bool is_plain = false;  // a symbolic link is neither
  bool is_folder = false;
  bool is_writable = false;  // by anyone
  uint64_t size_bytes = 0;
  int64_t modified_ns = 0;  // Unix time
};
// Of the path itself, not of what a link points to. nullopt when there is nothing.
std::optional<FileInfo> file_info(const std::filesystem::path& path);
// Whether the path is a plain file (a symbolic link is not).
bool is_plain_file(const std::filesystem::path& path);
// Names, sorted. A folder that is not there has none: another process may remove a model at any time.
std::vector<std::string> list_folder(const std::filesystem::path& folder);

// nullopt when there is no such file; throws when it is longer than max_bytes or not a plain file.
std::optional<std::string> read_small_file(const std::filesystem::path& path, uint64_t max_bytes);
void sync_folder(const std::filesystem::path& folder);
void sync_file(const std::filesystem::path& path);
// Like create_directories, with every new entry made durable.
void create_folders(const std::filesystem::path& folder);
// rename, then fsync of the folder: after it the name stands for the new bytes, whatever happens.
void publish(const std::filesystem::path& from, const std::filesystem::path& to);
// Whether both are there and no file can be renamed from one folder to the other.
bool is_on_another_disk(const std::filesystem::path& a, const std::filesystem::path& b);
void rename_file(const std::filesystem::path& from, const std::filesystem::path& to);
// False when it was not there.
bool remove_file(const std::filesystem::path& path);
bool remove_empty_folder(const std::filesystem::path& folder);  // false when it is not empty, or not there
void remove_quietly(const std::filesystem::path& path) noexcept;
// Its time of change becomes now; false when that is not allowed.
bool touch(const std::filesystem::path& path);
// A second name for a file; false where the file system has no such thing, or the name is taken.
bool link_file(const std::filesystem::path& from, const std::filesystem::path& to);
// Whether some process or thread holds the File that created it.
bool is_being_written(const std::filesystem::path& path);
uint64_t free_bytes(const std::filesystem::path& folder);
std::string unique_name(std::string_view suffix);

}  // namespace olx::server
