#include "cli/format.h"

#include <utf8proc.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <ctime>

namespace olx::cli {

std::string human_bytes(int64_t size_bytes) {
  const struct { int64_t unit; const char* name; } kUnits[] = {
      {1'000'000'000'000, "TB"}, {1'000'000'000, "GB"}, {1'000'000, "MB"}, {1'000, "KB"}};
  for (const auto& row : kUnits) {
    if (size_bytes < row.unit) continue;
    const double value = static_cast<double>(size_bytes) / static_cast<double>(row.unit);
    char text[48];
    if (value >= 10)
      std::snprintf(text, sizeof text, "%d %s", static_cast<int>(value), row.name);
    else if (value != std::trunc(value))
      std::snprintf(text, sizeof text, "%.1f %s", value, row.name);
    else
      std::snprintf(text, sizeof text, "%d %s", static_cast<int>(value), row.name);
    return text;
  }
  return std::to_string(size_bytes) + " B";
}

std::string human_duration(int64_t seconds) {
  const int64_t minutes = seconds / 60;
  const auto hours = static_cast<int64_t>(std::llround(static_cast<double>(seconds) / 3600.0));
  const auto counted = [](int64_t n, const char* unit) { return std::to_string(n) + " " + unit; };
  if (seconds < 1) return "Less than a second";
  if (seconds == 1) return "1 second";
  if (seconds < 60) return counted(seconds, "seconds");
  if (minutes == 1) return "About a minute";
  if (minutes < 60) return counted(minutes, "minutes");
  if (hours == 1) return "About an hour";
  if (hours < 48) return counted(hours, "hours");
  if (hours < 24 * 14) return counted(hours / 24, "days");
  if (hours < 24 * 60) return counted(hours / 24 / 7, "weeks");
  if (hours < 24 * 365 * 2) return counted(hours / 24 / 30, "months");
  return counted(hours / 24 / 365, "years");
}

std::string human_time(std::string_view rfc3339, int64_t now_unix_s) {
  int year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0, used = 0;
  const std::string text(rfc3339);
  if (std::sscanf(text.c_str(), "%d-%d-%dT%d:%d:%d%n", &year, &month, &day, &hour, &minute, &second, &used) != 6 ||
      year <= 1)
    return "Never";
  size_t at = static_cast<size_t>(used);
  if (at < text.size() && text[at] == '.')
    for (++at; at < text.size() && text[at] >= '0' && text[at] <= '9';) ++at;
  int zone_hour = 0, zone_minute = 0;
  if (at < text.size() && (text[at] == '+' || text[at] == '-')) {
    std::sscanf(text.c_str() + at + 1, "%d:%d", &zone_hour, &zone_minute);
    if (text[at] == '-') zone_hour = -zone_hour, zone_minute = -zone_minute;
  }
  std::tm when{};
  when.tm_year = year - 1900;
  when.tm_mon = month - 1;
  when.tm_mday = day;
  when.tm_hour = hour;
  when.tm_min = minute;
  when.tm_sec = second;
  const int64_t unix_s = static_cast<int64_t>(::timegm(&when)) - zone_hour * 3600 - zone_minute * 60;
  const int64_t delta = now_unix_s - unix_s;
  if (delta < -20ll * 365 * 24 * 3600) return "Forever";
  return delta >= 0 ? human_duration(delta) + " ago" : human_duration(-delta) + " from now";
}

int display_width(std::string_view utf8) {
  int width = 0;
  const auto* bytes = reinterpret_cast<const utf8proc_uint8_t*>(utf8.data());
  auto remaining = static_cast<utf8proc_ssize_t>(utf8.size());
  while (remaining > 0) {
    utf8proc_int32_t codepoint = -1;
    const utf8proc_ssize_t n = utf8proc_iterate(bytes, remaining, &codepoint);
    if (n <= 0) {  // an invalid byte shows as one replacement character
      ++width, ++bytes, --remaining;
      continue;
    }
    width += utf8proc_charwidth(codepoint);
    bytes += n;
    remaining -= n;
  }
  return width;
}

std::string table(const std::vector<std::string>& header, const std::vector<std::vector<std::string>>& rows) {
  std::vector<int> widths;
  for (const std::string& cell : header) widths.push_back(display_width(cell));
  for (const auto& row : rows)
    for (size_t i = 0; i < row.size() && i < widths.size(); ++i) widths[i] = std::max(widths[i], display_width(row[i]));
  std::string out;
  const auto add_row = [&](const std::vector<std::string>& row, size_t last_gap) {
    for (size_t i = 0; i < widths.size(); ++i) {
      const std::string& cell = i < row.size() ? row[i] : "";
      out += cell;
      out.append(static_cast<size_t>(widths[i] - display_width(cell)) + (i + 1 < widths.size() ? 4 : last_gap), ' ');
    }
    out += '\n';
  };
  add_row(header, 1);
  for (const auto& row : rows) add_row(row, 4);
  return out;
}

}  // namespace olx::cli
