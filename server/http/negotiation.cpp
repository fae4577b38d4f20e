#include "server/http/negotiation.h"

#include <strings.h>

#include <algorithm>

namespace olx::server {
namespace {

std::string_view trimmed(std::string_view text) {
  const size_t first = std::min(text.find_first_not_of(" \t"), text.size());
  return text.substr(first, text.find_last_not_of(" \t") + 1 - first);
}

bool is_same(std::string_view left, std::string_view right) {
  return left.size() == right.size() && ::strncasecmp(left.data(), right.data(), left.size()) == 0;
}

// Cuts the part up to `separator` off the front of `text`.
std::string_view take(std::string_view& text, char separator) {
  const size_t end = std::min(text.find(separator), text.size());
  const std::string_view part = trimmed(text.substr(0, end));
  text.remove_prefix(std::min(end + 1, text.size()));
  return part;
}

// "0.75" in thousandths; what is no quality counts as the best one.
int quality(std::string_view text) {
  if (text.empty() || (text[0] != '0' && text[0] != '1') || (text.size() > 1 && text[1] != '.'))
    return 1000;
  int thousandths = (text[0] - '0') * 1000;
  for (int i = 2, unit = 100; i < static_cast<int>(text.size()) && unit > 0; ++i, unit /= 10) {
    const char digit = text[static_cast<size_t>(i)];
    if (digit < '0' || digit > '9') return 1000;
    thousandths += (digit - '0') * unit;
  }
  return std::min(thousandths, 1000);
}

}  // namespace

bool prefers_html(std::string_view accept) {
  int html = 0, plain = 0;
  while (!accept.empty()) {
    std::string_view entry = take(accept, ',');
    const std::string_view type = take(entry, ';');
    int value = 1000;
    while (!entry.empty()) {
      std::string_view parameter = take(entry, ';');
      if (is_same(take(parameter, '='), "q")) value = quality(trimmed(parameter));
    }
    if (is_same(type, "text/html")) html = std::max(html, value);
    if (is_same(type, "text/plain")) plain = std::max(plain, value);
  }
  return html > 0 && html >= plain;
}

bool has_etag(std::string_view if_none_match, std::string_view etag) {
  while (!if_none_match.empty()) {
    std::string_view entry = take(if_none_match, ',');
    if (entry == "*") return true;
    if (entry.starts_with("W/")) entry.remove_prefix(2);  // compared weakly, as GET does
    if (entry == etag) return true;
  }
  return false;
}

}  // namespace olx::server
