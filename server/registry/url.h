#pragma once
// Url: an http or https address taken apart, strictly: what the registry client connects to is what was checked.
// Used by server/registry/ only. It is no general URL library: no user names, no fragments, no other schemes.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace olx::server {

struct Url {
  std::string scheme;  // "http" or "https"
  std::string host;    // lower case; an IPv6 address without its brackets
  uint16_t port = 0;
  std::string target;  // "/path?query"

  bool is_tls() const { return scheme == "https"; }
  std::string authority() const;  // as in a Host header: the port only where it is not the scheme's own
  std::string origin() const;     // scheme://authority
  std::string text() const { return origin() + target; }
  bool has_origin_of(const Url& other) const {
    return scheme == other.scheme && host == other.host && port == other.port;
  }
};

inline constexpr size_t kMaxUrlBytes = 8 << 10;

// nullopt for anything but scheme://host[:port][/path][?query] in visible ASCII.
std::optional<Url> parse_url(std::string_view text);
// What a Location header in an answer from `base` means.
std::optional<Url> resolve_url(const Url& base, std::string_view reference);
// With everything but letters, digits and -._~ as %XX.
std::string percent_encoded(std::string_view text);

}  // namespace olx::server
