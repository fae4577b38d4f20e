#pragma once
// What every handler works with, and the helpers they share. Used by api/ and server.cpp only.

#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <string>
#include <string_view>

#include "server/api/capabilities.h"
#include "server/http/api_error.h"
#include "server/http/http_server.h"
#include "server/json/json.h"
#include "server/models/engine_host.h"
#include "server/ops/metrics.h"
#include "server/registry/download.h"
#include "server/server.h"
#include "server/store/model_store.h"

namespace olx::server {

struct App {
  const ServerOptions& options;
  ModelStore& store;
  EngineHost& host;
  Metrics& metrics;
  CapabilityCache& capabilities;
  Downloads& downloads;
};

// The handler of the route, or 404, 405 or a redirect. The table is routes.inc.
Route find_route(App& app, std::string_view method, std::string_view path);

// The body as an object. ApiError 400 in Ollama's words when it is none.
boost::json::value parse_body(const Exchange& exchange);
void reply(Exchange& exchange, const boost::json::value& body, int status = 200);

// Times as Go prints them: RFC 3339, up to nine digits, trailing zeros cut.
std::string utc_now();
std::string local_time(std::chrono::system_clock::time_point time);

std::chrono::system_clock::time_point from_unix_ns(int64_t ns);
boost::json::object details_json(const ModelDetails& details);

// Handlers, one for each row of routes.inc.
#define OLX_ROUTE(method, path, body, handler) void handler(App&, Exchange&);
#include "server/api/routes.inc"
#undef OLX_ROUTE

}  // namespace olx::server
