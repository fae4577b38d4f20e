// `serve`, and the server inside this process that other commands use when none answers. The one file of the CLI that
// knows the server as anything but an address.
#include <cstdio>

#include "cli/commands.h"
#include "cli/version.h"
#include "server/server.h"

namespace olx::cli {
namespace {

class InProcessServer final : public LocalServer {
 public:
  explicit InProcessServer(server::ServerOptions options) : server_(std::move(options)) { server_.start(); }
  HostAddress address() const override { return {"127.0.0.1", std::to_string(server_.port()), ""}; }

 private:
  server::Server server_;
};

server::ServerOptions options_from_environment() {
  server::ServerOptions options = server::ServerOptions::from_environment();
  options.version = kVersion;
  return options;
}

}  // namespace

std::unique_ptr<LocalServer> start_local_server() {
  server::ServerOptions options = options_from_environment();
  options.host = "127.0.0.1";
  options.port = 0;
  options.registries = "*";  // the caller is whoever started this program
  options.isolates = false;  // nobody else would lose anything
  return std::make_unique<InProcessServer>(std::move(options));
}

int command_serve(const std::vector<std::string>& words) {
  CommandLine line("serve", "", "Start ollamax");
  std::optional<std::string> draft;
  line.value("--draft", draft, "Model or GGUF file that drafts for models with its vocabulary");
  line.arguments(0, 0);
  if (!line.parse(words)) return 0;
  server::ServerOptions options = options_from_environment();
  if (draft) options.draft = *draft;
  options.logs_requests = true;
  server::Server server(std::move(options));
  server.start();
  server.run_until_signal();
  return 0;
}

}  // namespace olx::cli
