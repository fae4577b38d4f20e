#pragma once
// What /api/pull and /api/push, and every other request that pulls a model, have in common. Used by api/ only.

#include "server/api/app.h"
#include "server/registry/pull.h"

namespace olx::server {

// Whether callers of this server may have it speak to the host: OLLAMAX_REGISTRIES.
bool is_registry_allowed(const ServerOptions& options, std::string_view host);

RegistryOptions registry_options(const ServerOptions& options);

// Pulls with a record for each step; ApiError for what goes wrong. Without `is_streaming` nothing is written, without
// `is_all` no "success": for a request that goes on afterwards.
void pull_for(App& app, Exchange& exchange, const ModelName& name, bool is_insecure, bool is_streaming, bool is_all = true);

}  // namespace olx::server
