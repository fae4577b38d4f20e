#pragma once
// Who may talk to the server: the Host header (DNS rebinding) and the Origin header (foreign web pages). Pure functions.

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

}  // namespace olx::server
