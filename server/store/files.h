#pragma once
// Files as the store needs them: every result checked, made durable before they get their final name.
// Used by the store only. Each function throws std::system_error naming the file.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace olx::server {

// An open file descriptor.
class File {
 public:
  static File open_for_reading(const std::filesystem::path& path);
  // The new file is locked until it is closed, by whatever end of the process too: see is_being_written().
  static File create_exclusively(const std::filesystem::path& path, unsigned mode);
  ~File();
  File(File&& other) noexcept;
  File& operator=(File&& other) noexcept;

  size_t read(std::span<char> out) const;  // 0: end of file
  void write_all(std::string_view bytes);
  void sync();
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
  static std::optional<FileLock> try_exclusive(const std::filesystem::path& path);
  ~FileLock();
  FileLock(FileLock&& other) noexcept;
  FileLock& operator=(FileLock&&) = delete;

 private:
  explicit FileLock(int fd) : fd_(fd) {}
  int fd_ = -1;
};

// nullopt when there is no such file; throws when it is longer than max_bytes or not a plain file.
std::optional<std::string> read_small_file(const std::filesystem::path& path, uint64_t max_bytes);
void sync_folder(const std::filesystem::path& folder);
// Like create_directories, with every new entry made durable.
void create_folders(const std::filesystem::path& folder);
// rename, then fsync of the folder: after it the name stands for the new bytes, whatever happens.
void publish(const std::filesystem::path& from, const std::filesystem::path& to);
// Whether the path is a plain file (a symbolic link is not).
bool is_plain_file(const std::filesystem::path& path);
// Whether some process holds the File that created it.
bool is_being_written(const std::filesystem::path& path);
std::string unique_name(std::string_view suffix);

}  // namespace olx::server
