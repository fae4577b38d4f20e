#include "server/http/guard.h"

#include <arpa/inet.h>

#include <algorithm>
#include <stdexcept>

#include "gguf/ascii.h"

namespace olx::server {
namespace {

// "host:port", "[v6]:port" or "host" to host; false when malformed.
bool split_host(std::string_view header, std::string& host) {
  host = ascii::lower(header);
  if (host.starts_with('[')) {
    const size_t close = host.find(']');
    if (close == std::string::npos) return false;
    const std::string rest = host.substr(close + 1);
    host = host.substr(1, close - 1);
    return rest.empty() || (rest[0] == ':' && ascii::is_number(rest.substr(1)));
  }
  if (const size_t colon = host.find(':'); colon != std::string::npos) {
    if (!ascii::is_number(std::string_view(host).substr(colon + 1))) return false;
    host.resize(colon);
  }
  return std::all_of(host.begin(), host.end(), [](char c) {
    return ascii::is_alphanumeric(c) || c == '.' || c == '-' || c == '_';
  });
}

bool is_local_address(const std::string& host, bool& is_address) {
  in_addr v4;
  in6_addr v6;
  is_address = true;
  if (::inet_pton(AF_INET, host.c_str(), &v4) == 1) {
    const uint32_t address = ntohl(v4.s_addr);
    return address >> 24 == 127 || address >> 24 == 10 || address >> 20 == 0xac1 || address >> 16 == 0xc0a8 || address == 0;
  }
  if (::inet_pton(AF_INET6, host.c_str(), &v6) == 1)
    return IN6_IS_ADDR_LOOPBACK(&v6) || IN6_IS_ADDR_UNSPECIFIED(&v6) || (v6.s6_addr[0] & 0xfe) == 0xfc;
  is_address = false;
  return false;
}

}  // namespace

bool is_host_malformed(std::string_view header) {
  std::string host;
  return !split_host(header, host);
}

bool is_host_allowed(std::string_view header, std::string_view hostname) {
  std::string host;
  if (!split_host(header, host)) return false;
  bool is_address = false;
  const bool is_local = is_local_address(host, is_address);
  if (is_address) return is_local;
  if (host.empty() || host == "localhost" || (!hostname.empty() && host == ascii::lower(hostname))) return true;
  return host.ends_with(".localhost") || host.ends_with(".local") || host.ends_with(".internal");
}

HostPolicy::HostPolicy(std::string_view configured) {
  is_configured_ = !configured.empty();
  while (!configured.empty()) {
    const size_t comma = std::min(configured.find(','), configured.size());
    std::string entry = ascii::lower(configured.substr(0, comma));
    configured.remove_prefix(std::min(comma + 1, configured.size()));
    std::erase(entry, ' ');
    if (entry == "*") allows_any_ = true;
    else if (!entry.empty()) names_.push_back(std::move(entry));
  }
}

bool HostPolicy::allows(std::string_view header, std::string_view hostname, bool has_origin) const {
  std::string host;
  if (!split_host(header, host)) return false;
  if (allows_any_ || (!is_configured_ && !has_origin)) return true;
  if (host.ends_with('.')) host.pop_back();
  bool is_address = false;
  is_local_address(host, is_address);
  if (is_address || host.find('.') == std::string::npos || is_host_allowed(header, hostname)) return true;
  return std::find(names_.begin(), names_.end(), host) != names_.end();
}

OriginPolicy::OriginPolicy(std::string_view configured) {
  while (!configured.empty()) {
    const size_t comma = std::min(configured.find(','), configured.size());
    std::string entry = ascii::lower(configured.substr(0, comma));
    configured.remove_prefix(std::min(comma + 1, configured.size()));
    std::erase(entry, ' ');
    if (entry == "*") allows_any_ = true;
    else if (!entry.empty()) patterns_.push_back(entry);
  }
  for (const char* scheme : {"http://", "https://"})
    for (const char* host : {"localhost", "127.0.0.1", "0.0.0.0"}) {
      patterns_.push_back(std::string(scheme) + host);
      patterns_.push_back(std::string(scheme) + host + ":*");
    }
  for (const char* scheme : {"app://*", "file://*", "tauri://*", "vscode-webview://*", "vscode-file://*"})
    patterns_.push_back(scheme);
}

OriginPolicy::Verdict OriginPolicy::judge(std::string_view origin_header, std::string_view host_header) const {
  const std::string origin = ascii::lower(origin_header), host = ascii::lower(host_header);
  if (origin == "http://" + host || origin == "https://" + host) return Verdict::kSameOrigin;
  if (allows_any_) return Verdict::kAllowedAny;
  const bool is_listed = std::any_of(patterns_.begin(), patterns_.end(), [&](std::string_view pattern) {
    const size_t star = pattern.find('*');
    if (star == std::string_view::npos) return origin == pattern;
    const std::string_view before = pattern.substr(0, star), after = pattern.substr(star + 1);
    if (origin.size() < before.size() + after.size() || !origin.starts_with(before) || !origin.ends_with(after)) return false;
    const std::string_view middle =
        std::string_view(origin).substr(before.size(), origin.size() - before.size() - after.size());
    // A star for a port stands for digits only: "http://localhost:*" is not "http://localhost:1.evil.example".
    return before.ends_with(':') ? ascii::is_number(middle) : middle.find_first_of(" \r\n") == std::string_view::npos;
  });
  return is_listed ? Verdict::kAllowed : Verdict::kDenied;
}

ApiKeys::ApiKeys(std::string_view configured) {
  const bool is_set = !configured.empty();
  while (!configured.empty()) {
    const size_t comma = std::min(configured.find(','), configured.size());
    std::string key(configured.substr(0, comma));
    configured.remove_prefix(std::min(comma + 1, configured.size()));
    key.erase(0, key.find_first_not_of(" \t"));
    key.erase(key.find_last_not_of(" \t") + 1);
    if (!key.empty()) keys_.push_back(std::move(key));
  }
  // Someone meant to lock the door: an open one is the worst way to read that.
  if (is_set && keys_.empty()) throw std::runtime_error("OLLAMAX_API_KEYS: expected keys separated by commas, got none");
}

bool ApiKeys::admit(std::string_view authorization, std::string_view x_api_key) const {
  constexpr std::string_view kBearer = "bearer ";
  std::string_view given = x_api_key;
  if (authorization.size() > kBearer.size() && ascii::lower(authorization.substr(0, kBearer.size())) == kBearer) {
    given = authorization.substr(kBearer.size());
    given.remove_prefix(std::min(given.find_first_not_of(' '), given.size()));
  }
  if (given.empty()) return false;
  // Every byte given is looked at for every key, whatever has differed before.
  bool is_admitted = false;
  for (const std::string& key : keys_) {
    volatile unsigned differences = key.size() == given.size() ? 0 : 1;
    for (size_t i = 0; i < given.size(); ++i)
      differences = differences | static_cast<unsigned char>(given[i] ^ key[i % key.size()]);
    is_admitted |= differences == 0;
  }
  return is_admitted;
}

}  // namespace olx::server
