#pragma once
// Who may talk to the server: the Host header (DNS rebinding), the Origin header (foreign web pages)
// and the API key. Pure functions.

#include <string>
#include <string_view>
#include <vector>

namespace olx::server {

// Whether a server bound to a loopback address answers under this Host header. `hostname`: this machine's name.
bool is_host_allowed(std::string_view host_header, std::string_view hostname);
// Under which names a server answers that listens on more than loopback. A page that an attacker's name was rebound to this
// machine for carries that name in its Host header; addresses, names without a dot and those of this machine are never such.
class HostPolicy {
 public:
  // `configured`: OLLAMAX_HOSTS, comma separated, without ports; "*": any name.
  explicit HostPolicy(std::string_view configured);
  HostPolicy() : HostPolicy("") {}

  // Without a list only browsers are held to it, who send an Origin with whatever changes something; others may use any name.
  bool allows(std::string_view host_header, std::string_view hostname, bool has_origin) const;

 private:
  std::vector<std::string> names_;
  bool allows_any_ = false, is_configured_ = false;
};
// A Host header that is no host[:port] at all.
bool is_host_malformed(std::string_view host_header);

class OriginPolicy {
 public:
  // `configured`: OLLAMA_ORIGINS, comma separated; added to the defaults.
  explicit OriginPolicy(std::string_view configured);
  OriginPolicy() : OriginPolicy("") {}

  enum class Verdict { kSameOrigin, kAllowed, kAllowedAny, kDenied };
  Verdict judge(std::string_view origin, std::string_view host_header) const;

 private:
  std::vector<std::string> patterns_;
  bool allows_any_ = false;
};

// The keys that open the server; without any, everyone may come in.
class ApiKeys {
 public:
  explicit ApiKeys(std::string_view configured);  // comma separated
  ApiKeys() = default;

  bool are_required() const { return !keys_.empty(); }
  // By either header: "Authorization: Bearer <key>" or "x-api-key: <key>". How long it takes says nothing about the keys.
  bool admit(std::string_view authorization, std::string_view x_api_key) const;

 private:
  std::vector<std::string> keys_;
};

}  // namespace olx::server
