// GET /metrics: the counters and what is true now.
#include "server/api/app.h"

namespace olx::server {

void handle_metrics(App& app, Exchange& exchange) {
  MetricsSnapshot now = app.host.snapshot();
  now.version = app.options.version;
  exchange.send(200, "text/plain; version=0.0.4; charset=utf-8", app.metrics.text(now));
}

}  // namespace olx::server
