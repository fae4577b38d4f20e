#pragma once
// Numbers as people read them, in the forms Ollama prints. Pure functions.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace olx::cli {

std::string human_bytes(int64_t size_bytes);                // "2.0 GB", base 1000
std::string human_duration(int64_t seconds);                // "3 weeks", "About a minute"
// RFC 3339 time against `now` (unix seconds): "3 weeks ago", "4 minutes from now", "Never", "Forever".
std::string human_time(std::string_view rfc3339, int64_t now_unix_s);
// Columns padded to the widest cell, four spaces between; the header line first.
std::string table(const std::vector<std::string>& header, const std::vector<std::vector<std::string>>& rows);
int display_width(std::string_view utf8);                   // terminal columns

}  // namespace olx::cli
