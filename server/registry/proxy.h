#pragma once
// Which proxy the environment wants for an address: HTTP_PROXY, HTTPS_PROXY and NO_PROXY, as Go reads them.

#include <optional>
#include <string>

#include "server/registry/url.h"

namespace olx::server {

struct Proxy {
  Url url;                    // http only
  std::string authorization;  // "Basic ...", or ""
};

// nullopt: connect directly. Throws NetworkError when the variable makes no sense.
std::optional<Proxy> proxy_for(const Url& url);

// Whether a list as in NO_PROXY names the host: "*", a host, ".suffix" (or "suffix", with its subdomains), each with an
// optional ":port".
bool is_in_no_proxy(std::string_view list, const Url& url);

std::string base64(std::string_view bytes);

}  // namespace olx::server
