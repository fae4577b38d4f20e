#pragma once
// push_model: a model of the store to a registry: the blobs it lacks, then the manifest.

#include "server/registry/pull.h"

namespace olx::server {

// As pull_model: "retrieving manifest", "pushing <digest>", "pushing manifest", "success". StoreError when there is no such
// model or a blob of it is damaged.
void push_model(ModelStore& models, const ModelName& name, bool is_insecure, const RegistryOptions& options, const TransferClient& client);

}  // namespace olx::server
