#pragma once
// fetch_parts: the bytes of one blob into its part file, over several connections, with a journal. Used by download.cpp.

#include <atomic>
#include <cstdint>
#include <functional>

#include "server/registry/client.h"
#include "server/registry/journal.h"
#include "server/store/manifest.h"

namespace olx::server {

// What is journalled at a time: n_streams of it is all that a kill can cost.
inline constexpr uint64_t kRecordBytes = 2 << 20;

// Fetches what `journal` misses. `completed` grows with every byte; NetworkError or std::system_error when it cannot be done.
void fetch_parts(Registry& registry, const Layer& layer, File& part, Journal& journal, std::atomic<uint64_t>& completed,
                 const std::function<bool()>& is_cancelled);

}  // namespace olx::server
