#include "server/server.h"

#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <iostream>
#include <optional>
#include <stdexcept>
#include <utility>

#include "engine/devices.h"
#include "server/api/app.h"
#include "server/ops/metrics.h"
#include "server/ops/request_log.h"
#include "server/registry/address.h"
#include "server/worker/worker_host.h"

namespace olx::server {

namespace {
volatile std::sig_atomic_t signal_pipe = -1;
}

struct Server::Impl {
  explicit Impl(ServerOptions given) : options(std::move(given)) {}

  // Stopped and destroyed from the bottom up: no request outlives what it works on.
  ServerOptions options;
  std::optional<ModelStore> store;
  Metrics metrics;
  CapabilityCache capabilities;
  std::optional<Downloads> downloads;
  std::optional<EngineHost> host;
  std::optional<App> app;
  std::optional<HttpServer> http;
  bool is_stopped = false;
};

Server::Server(ServerOptions options) : impl_(std::make_unique<Impl>(std::move(options))) {}
Server::~Server() { stop(); }

void Server::start() {
  const ServerOptions& options = impl_->options;
  if (options.device == "auto") {
    impl_->options.device = engine::default_device(engine::list_devices());
    impl_->options.is_device_required = false;
  }
  impl_->store.emplace(options.models_dir, options.prunes);
  impl_->store->files().set_spare_bytes(options.spare_disk_bytes);
  impl_->store->files().begin();
  impl_->store->clean_leftovers();
  if (options.prunes) impl_->store->prune();
  impl_->downloads.emplace(impl_->store->files());
  OpenModel open = open_in_process;
  if (options.isolates)
    open = [worker = WorkerOptions{options.worker_program, {"worker"}, std::chrono::milliseconds(options.worker_stall_ms)}](
               const engine::EngineOptions& model) { return open_in_worker(model, worker); };
  impl_->host.emplace(EngineHost::Limits{options.max_loaded_models, options.max_queue, options.keep_alive_ns}, system_free_memory,
                      std::move(open));
  impl_->app.emplace(App{options, *impl_->store, *impl_->host, impl_->metrics, impl_->capabilities, *impl_->downloads});
  HttpOptions http;
  http.host = options.host;
  http.port = options.port;
  http.origins = OriginPolicy(options.origins);
  http.hosts = HostPolicy(options.hosts);
  http.keys = ApiKeys(options.api_keys);
  http.on_answered = [this](const AnsweredRequest& answered) {
    // A path or a method that a client made up must not become a counter of its own.
    const bool is_known = !answered.route.empty();
    impl_->metrics.count_request(is_known ? answered.request.method : "other", is_known ? answered.route : "other",
                                 answered.status, answered.seconds);
    // One write: lines of other threads do not get into it.
    if (impl_->options.logs_requests) std::cerr << log_line(answered, utc_now()) + "\n";
  };
  const bool is_local = options.host == "localhost" || address_kind(options.host) == AddressKind::kLoopback;
  if (!is_local && options.api_keys.empty())
    std::cerr << "warning: whoever reaches this address can use, replace and delete every model: set OLLAMAX_API_KEYS, or listen on 127.0.0.1\n";
  impl_->http.emplace(std::move(http), [this](std::string_view method, std::string_view path) {
    return find_route(*impl_->app, method, path);
  });
}

uint16_t Server::port() const { return impl_->http->port(); }

void Server::stop() {
  if (!impl_->http) return;
  impl_->http->stop();
  if (std::exchange(impl_->is_stopped, true)) return;
  try {
    impl_->store->files().end();
  } catch (const std::exception& error) {  // the next start takes it for an unclean stop
    std::cerr << "warning: the model store: " << error.what() << "\n";
  }
}

void Server::stop_gently(const std::function<bool()>& is_impatient) {
  if (!impl_->http) return;
  impl_->http->refuse_new();
  const auto last = std::chrono::steady_clock::now() + std::chrono::milliseconds(impl_->options.stop_grace_ms);
  while (impl_->http->n_working() > 0 && std::chrono::steady_clock::now() < last && !is_impatient()) {
  }
  stop();
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
  stop_gently([&] {
    pollfd signals{ends[0], POLLIN, 0};
    return ::poll(&signals, 1, 20) > 0;  // the second signal
  });
}

}  // namespace olx::server
