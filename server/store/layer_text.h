#pragma once
// The JSON layers of a model, read and written as Ollama writes them, and how long each kind of text layer may be.
// Used by the model store only.

#include <cstdint>
#include <string>
#include <string_view>

#include "server/store/model_store.h"

namespace olx::server {

inline constexpr uint64_t kMaxTemplateBytes = 256 << 10;
inline constexpr uint64_t kMaxSystemBytes = 1 << 20;
inline constexpr uint64_t kMaxParametersBytes = 64 << 10;
inline constexpr uint64_t kMaxMessagesBytes = 64 << 20;  // they may hold images
inline constexpr uint64_t kMaxLicenseBytes = 1 << 20;

// Throw gguf::FormatError. A single `stop` text becomes a list of one.
Parameters parse_parameters(std::string_view json);
StoredMessages parse_messages(std::string_view json);

// Keys sorted, as a Go map is written, and a newline at the end: the same parameters have the same digest in both programs.
std::string parameters_json(const Parameters& parameters);
// Members of a message in the order of Ollama's struct, then the rest.
std::string messages_json(const StoredMessages& messages);

}  // namespace olx::server
