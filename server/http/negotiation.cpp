#include "server/http/negotiation.h"

#include <strings.h>

#include <algorithm>

#include "gguf/ascii.h"

namespace olx::server {
namespace {

constexpr std::string_view kBlanks = " \t";

// Cuts the part up to `separator` off the front of `text`.
std::string_view take(std::string_view& text, char separator) {
  const size_t end = std::min(text.find(separator), text.size());
  const std::string_view part = ascii::trimmed(text.substr(0, end), kBlanks);
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
      if (ascii::equal_ignoring_case(take(parameter, '='), "q")) value = quality(ascii::trimmed(parameter, kBlanks));
    }
    if (ascii::equal_ignoring_case(type, "text/html")) html = std::max(html, value);
    if (ascii::equal_ignoring_case(type, "text/plain")) plain = std::max(plain, value);
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
