#pragma once
// What a model can do, as /api/show lists it and as generate and chat check it.

#include <string>
#include <string_view>
#include <vector>

#include "gguf/reader.h"
#include "server/store/model_store.h"

namespace olx::server {

// "completion" or "embedding", "tools", "insert", "thinking", "vision".
std::vector<std::string> capabilities_of(const ModelContents& contents, const gguf::GgufFile& file);

}  // namespace olx::server
