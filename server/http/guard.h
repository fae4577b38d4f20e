#pragma once
// Who may talk to the server: the Host header (DNS rebinding), the Origin header (foreign web pages)
// and the API key. Pure functions.

#include <string>
#include <string_view>
#include <vector>

namespace olx::server {

// Whether a server bound to a loopback address answers under this Host header. `hostname`: this machine's name.
bool is_host_allowed(std::string_view host_header, std::string_view hostname);
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
