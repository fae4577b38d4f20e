// OLLAMA_HOST, the client's side: the server to talk to.
#include "cli/commands.h"
#include "server/server.h"

namespace olx::cli {

HostAddress host_from_environment() {
  const server::HostAddress found = server::host_from_environment();
  if (found.scheme == "https") throw CommandError("OLLAMA_HOST: https is not supported yet; use http://");
  HostAddress address{found.host, std::to_string(found.port), found.path_prefix};
  // An address that means "all of mine" is not one to talk to.
  if (address.host.empty() || address.host == "0.0.0.0") address.host = "127.0.0.1";
  if (address.host == "::") address.host = "::1";
  return address;
}

}  // namespace olx::cli
