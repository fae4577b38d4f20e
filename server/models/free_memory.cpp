#include "server/models/free_memory.h"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <iterator>
#include <optional>
#include <string>

namespace olx::server {
namespace {

std::string text_of(const char* path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), {}};
}

// The number at the start, after blanks.
std::optional<uint64_t> number(std::string_view text) {
  text.remove_prefix(std::min(text.find_first_not_of(" \t"), text.size()));
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() ? std::optional(value) : std::nullopt;
}

// The number behind a name at the start of a line.
std::optional<uint64_t> field(std::string_view text, std::string_view name) {
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    if (text.starts_with(name)) return number(text.substr(name.size(), end - std::min(end, name.size())));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return std::nullopt;
}

}  // namespace

uint64_t available_in_meminfo(std::string_view text) {
  const auto kib = field(text, "MemAvailable:");
  return kib && *kib <= UINT64_MAX / 1024 ? *kib * 1024 : UINT64_MAX;
}

uint64_t left_in_group(std::string_view memory_max, std::string_view memory_current, std::string_view memory_stat) {
  const auto limit = number(memory_max), used = number(memory_current);  // "max": no number, no limit
  if (!limit || !used) return UINT64_MAX;
  const uint64_t cache = std::min(field(memory_stat, "inactive_file ").value_or(0), *used);
  const uint64_t held = *used - cache;
  return held < *limit ? *limit - held : 0;
}

uint64_t system_free_memory() {
  const std::string group = "/sys/fs/cgroup/";
  return std::min(available_in_meminfo(text_of("/proc/meminfo")),
                  left_in_group(text_of((group + "memory.max").c_str()), text_of((group + "memory.current").c_str()),
                                text_of((group + "memory.stat").c_str())));
}

}  // namespace olx::server
