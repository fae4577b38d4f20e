// GET /openapi.yaml: the description of the API, a file of the source tree that is part of the program.
#include "server/api/app.h"
#include "server/api/embedded.h"

namespace olx::server {

void handle_openapi(App&, Exchange& exchange) { exchange.send(200, "application/yaml", k_openapi_yaml); }

}  // namespace olx::server
