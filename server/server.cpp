#include "server/server.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <stdexcept>
#include <optional>

#include "server/api/app.h"

namespace olx::server {

namespace {
volatile std::sig_atomic_t signal_pipe = -1;
}

struct Server::Impl {
  explicit Impl(ServerOptions given) : options(std::move(given)) {}

  // Stopped and destroyed from the bottom up: no request outlives what it works on.
  ServerOptions options;
  std::optional<ModelStore> store;
  std::optional<EngineHost> host;
  std::optional<App> app;
  std::optional<HttpServer> http;
};

Server::Server(ServerOptions options) : impl_(std::make_unique<Impl>(std::move(options))) {}
Server::~Server() = default;

void Server::start() {
  const ServerOptions& options = impl_->options;
  impl_->store.emplace(options.models_dir, options.prunes);
  if (options.prunes) impl_->store->prune();
  impl_->host.emplace(options.max_loaded_models, options.keep_alive_ns);
  impl_->app.emplace(App{options, *impl_->store, *impl_->host});
  HttpOptions http;
  http.host = options.host;
  http.port = options.port;
  http.origins = OriginPolicy(options.origins);
  impl_->http.emplace(std::move(http), [this](std::string_view method, std::string_view path) {
    return find_route(*impl_->app, method, path);
  });
}

uint16_t Server::port() const { return impl_->http->port(); }

void Server::stop() {
  if (impl_->http) impl_->http->stop();
}

void Server::run_until_signal() {
  // A handler that writes to a pipe works whichever thread the signal reaches; a mask would have to precede all threads.
  int ends[2];
  if (::pipe(ends) != 0) throw std::runtime_error("cannot make a pipe");
  signal_pipe = ends[1];
  struct sigaction action = {};
  action.sa_handler = [](int) {
    [[maybe_unused]] const ssize_t n = ::write(signal_pipe, "", 1);
  };
  ::sigaction(SIGINT, &action, nullptr);
  ::sigaction(SIGTERM, &action, nullptr);
  char byte;
  while (::read(ends[0], &byte, 1) < 0 && errno == EINTR) {
  }
  stop();
}

}  // namespace olx::server
