#pragma once
// Where tests find what does not belong into the repository: the shared golden data and real model files.
// A test that needs one prints what was missing and passes over it.

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <system_error>

#include <unistd.h>

#ifndef OLLAMAX_SOURCE_DIR
#error "tests/CMakeLists.txt defines OLLAMAX_SOURCE_DIR"
#endif

namespace olx::tests {

inline std::filesystem::path source_dir() { return OLLAMAX_SOURCE_DIR; }

// $OLLAMAX_SHARED, or `shared` beside the checkout. May not exist.
inline std::filesystem::path shared_dir() {
  if (const char* set = std::getenv("OLLAMAX_SHARED")) return set;
  return source_dir().parent_path() / "shared";
}

// $OLLAMAX_TEST_MODELS, or where tools/quickstart and tools/test keep models. May not exist.
inline std::filesystem::path models_dir() {
  if (const char* set = std::getenv("OLLAMAX_TEST_MODELS")) return set;
  if (const char* cache = std::getenv("XDG_CACHE_HOME")) return std::filesystem::path(cache) / "ollamax/models";
  const char* home = std::getenv("HOME");
  return std::filesystem::path(home ? home : "/root") / ".cache/ollamax/models";
}

// True when it is there; otherwise says what is missing, so that a skipped test is seen.
inline bool have(const std::filesystem::path& path) {
  std::error_code ignored;
  if (std::filesystem::exists(path, ignored)) return true;
  std::printf("SKIPPED: %s is missing\n", path.c_str());
  return false;
}

// A folder of its own that goes away with the object.
class TempDir {
 public:
  TempDir() : TempDir(std::filesystem::temp_directory_path()) {}
  explicit TempDir(const std::filesystem::path& parent) {
    std::string pattern = (parent / "ollamax-test-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) std::abort();
    path_ = pattern;
  }
  ~TempDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  const std::filesystem::path& path() const { return path_; }
  std::string file(const std::string& name) const { return (path_ / name).string(); }

 private:
  std::filesystem::path path_;
};

}  // namespace olx::tests
