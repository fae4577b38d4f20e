#pragma once
// What a model can do, as /api/show lists it and as generate and chat check it.

#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "gguf/reader.h"
#include "server/store/model_store.h"

namespace olx::server {

// "completion" or "embedding", "tools", "insert", "thinking", and what else the model's config names. Not "vision", whatever the
// model: images are refused.
std::vector<std::string> capabilities_of(const ModelContents& contents, const gguf::GgufFile& file);

// Remembers them, so that a request need not open the weights' file. Keyed by the manifest's digest, which stands for every
// layer. Any thread.
class CapabilityCache {
 public:
  std::vector<std::string> of(const InstalledModel& installed, const ModelContents& contents);

 private:
  static constexpr size_t kMaxEntries = 1000;
  std::mutex mutex_;
  std::unordered_map<std::string, std::vector<std::string>> by_digest_;
};

}  // namespace olx::server
