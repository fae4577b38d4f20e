#pragma once
// pull_model: a model from a registry into the store. Either it is there afterwards, whole and verified, or nothing has
// changed but for what the next try goes on from.

#include <cstdint>
#include <functional>
#include <string>

#include "server/registry/download.h"
#include "server/store/model_store.h"

namespace olx::server {

inline constexpr int kProgressMs = 60;  // between two reports of a transfer

struct TransferProgress {
  std::string status;
  std::string digest;  // "": not about one blob
  uint64_t total_bytes = 0, completed_bytes = 0;
};
// Who wants the transfer. What on_progress throws ends it; is_gone is asked while there is nothing to tell.
struct TransferClient {
  std::function<void(const TransferProgress&)> on_progress;
  std::function<bool()> is_gone;
};

// on_progress is called about every kProgressMs, in Ollama's words, with "success" last. Throws NetworkError, gguf::FormatError or
// std::system_error.
void pull_model(ModelStore& models, Downloads& downloads, const ModelName& name, bool is_insecure, const RegistryOptions& options,
                const TransferClient& client);

// The digest of the manifest that the registry has under this name now.
Digest remote_digest(const ModelName& name, bool is_insecure, const RegistryOptions& options, const std::function<bool()>& is_cancelled);

}  // namespace olx::server
