#pragma once
// fetch_parts: the bytes of one blob into its part file, over several connections, with a journal. Used by download.cpp.

#include <atomic>
#include <cstdint>
#include <functional>

#include "server/registry/download.h"
#include "server/registry/journal.h"

namespace olx::server {

// Fetches what `journal` misses. `completed` grows with every byte; NetworkError or std::system_error when it cannot be done.
void fetch_parts(const Downloads::Source& source, File& part, Journal& journal, std::atomic<uint64_t>& completed,
                 const std::function<bool()>& is_cancelled);

}  // namespace olx::server
