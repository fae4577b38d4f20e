#include "server/ops/request_log.h"

#include <fmt/format.h>

namespace olx::server {
namespace {

constexpr size_t kMaxPathBytes = 256;

// A client's text in quotes: nothing in it can end the line or the field, or move a terminal's cursor.
std::string one_line(std::string_view text) {
  std::string out = "\"";
  for (const char c : text.substr(0, kMaxPathBytes)) {
    if (c == '"' || c == '\\') out += fmt::format("\\{}", c);
    else if (c < 0x20 || c == 0x7f) out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    else out += c;
  }
  return out + (text.size() > kMaxPathBytes ? "...\"" : "\"");
}

}  // namespace

std::string log_line(const AnsweredRequest& answered, std::string_view time) {
  return fmt::format("time={} level={} msg=request method={} path={} status={} ms={:.1f} id={}", time,
                     answered.status >= 500 ? "ERROR" : "INFO", one_line(answered.request.method), one_line(answered.request.path),
                     answered.status, answered.seconds * 1000, answered.request.id);
}

}  // namespace olx::server
