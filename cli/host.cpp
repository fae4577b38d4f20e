// OLLAMA_HOST, the client's side: scheme, host, port and path of the server to talk to.
#include <cstdlib>
#include <string>

#include "cli/commands.h"

namespace olx::cli {

HostAddress host_from_environment() {
  HostAddress address;
  const char* set = std::getenv("OLLAMA_HOST");
  if (set == nullptr) return address;
  std::string text = set;
  const auto is_space_or_quote = [](char c) { return c == ' ' || c == '\t' || c == '"' || c == '\''; };
  while (!text.empty() && is_space_or_quote(text.front())) text.erase(0, 1);
  while (!text.empty() && is_space_or_quote(text.back())) text.pop_back();
  if (const size_t scheme_end = text.find("://"); scheme_end != std::string::npos) {
    const std::string scheme = text.substr(0, scheme_end);
    if (scheme == "https") throw CommandError("OLLAMA_HOST: https is not supported yet; use http://");
    if (scheme == "http") address.port = "80";
    text.erase(0, scheme_end + 3);
  }
  if (const size_t slash = text.find('/'); slash != std::string::npos) {
    address.path_prefix = text.substr(slash);
    while (address.path_prefix.ends_with('/')) address.path_prefix.pop_back();
    text.erase(slash);
  }
  // "[v6]:port", "[v6]", "host:port", "host", ":port"; more than one colon without brackets is a bare IPv6 address.
  std::string port;
  if (text.starts_with('[')) {
    const size_t end = text.find(']');
    if (end != std::string::npos && end + 1 < text.size() && text[end + 1] == ':') port = text.substr(end + 2);
    text = text.substr(1, end == std::string::npos ? end : end - 1);
  } else if (const size_t colon = text.find(':'); colon != std::string::npos && text.find(':', colon + 1) == std::string::npos) {
    port = text.substr(colon + 1);
    text.erase(colon);
  }
  if (!text.empty()) address.host = text;
  // An address that means "all of mine" is not one to talk to.
  if (address.host == "0.0.0.0") address.host = "127.0.0.1";
  if (address.host == "::") address.host = "::1";
  const bool is_number = !port.empty() && port.size() <= 5 && port.find_first_not_of("0123456789") == std::string::npos;
  if (is_number && std::stoi(port) <= 65'535) address.port = port;
  return address;
}

}  // namespace olx::cli
