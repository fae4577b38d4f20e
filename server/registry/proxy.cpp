#include "server/registry/proxy.h"

#include <openssl/evp.h>

#include <cstdlib>

#include "gguf/ascii.h"
#include "server/registry/address.h"
#include "server/registry/http_client.h"

namespace olx::server {
namespace {

std::string variable(const char* upper, const char* lower) {
  for (const char* name : {upper, lower})
    if (const char* set = std::getenv(name); set != nullptr && set[0] != '\0') return set;
  return "";
}

}  // namespace

std::string base64(std::string_view bytes) {
  std::string out((bytes.size() + 2) / 3 * 4 + 1, '\0');
  const int n = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data()),
                                reinterpret_cast<const unsigned char*>(bytes.data()), static_cast<int>(bytes.size()));
  out.resize(static_cast<size_t>(n));
  return out;
}

bool is_in_no_proxy(std::string_view list, const Url& url) {
  while (!list.empty()) {
    const size_t comma = std::min(list.find(','), list.size());
    std::string entry = ascii::lower(list.substr(0, comma));
    list.remove_prefix(std::min(comma + 1, list.size()));
    while (entry.starts_with(' ')) entry.erase(0, 1);
    while (entry.ends_with(' ')) entry.pop_back();
    if (entry == "*") return true;
    if (is_in_block(url.host, entry)) return true;
    if (const size_t colon = entry.rfind(':'); colon != std::string::npos && (entry.find(':') == colon || entry[colon - 1] == ']')) {
      if (entry.substr(colon + 1) != std::to_string(url.port)) continue;
      entry.resize(colon);
    }
    if (entry.starts_with('[') && entry.ends_with(']')) entry = entry.substr(1, entry.size() - 2);
    if (entry.starts_with("*.")) entry.erase(0, 1);
    if (entry.empty()) continue;
    if (is_same_address(url.host, entry)) return true;
    const bool is_suffix = entry.front() == '.';
    if (!is_suffix && url.host == entry) return true;
    if (url.host.ends_with(is_suffix ? entry : "." + entry)) return true;
  }
  return false;
}

std::optional<Proxy> proxy_for(const Url& url) {
  const std::string set = url.is_tls() ? variable("HTTPS_PROXY", "https_proxy") : variable("HTTP_PROXY", "http_proxy");
  if (set.empty()) return std::nullopt;
  // As Go: never for this machine itself.
  if (url.host == "localhost" || address_kind(url.host) == AddressKind::kLoopback) return std::nullopt;
  if (is_in_no_proxy(variable("NO_PROXY", "no_proxy"), url)) return std::nullopt;
  std::string text = set.find("://") == std::string::npos ? "http://" + set : set;
  Proxy proxy;
  const size_t host_begin = text.find("://") + 3;
  const size_t at = text.find('@', host_begin);
  if (at != std::string::npos && at < text.find('/', host_begin)) {
    proxy.authorization = "Basic " + base64(text.substr(host_begin, at - host_begin));
    text.erase(host_begin, at + 1 - host_begin);
  }
  const auto parsed = parse_url(text);
  // The value may hold a password: it is not shown.
  if (!parsed || parsed->is_tls())
    throw NetworkError(NetworkError::Kind::kFatal, std::string(url.is_tls() ? "HTTPS_PROXY" : "HTTP_PROXY") +
                                                       ": expected http://host:port of a plain HTTP proxy");
  proxy.url = *parsed;
  return proxy;
}

}  // namespace olx::server
