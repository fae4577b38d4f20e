#pragma once
// Durations as Go writes and reads them: "5m", "1h30m", "1.5s". Used by the API, the environment and, through
// server/wire.h, the CLI.

#include <cstdint>
#include <string>
#include <string_view>

namespace olx::server {

// Nanoseconds. "" when text is a Go duration, otherwise Go's error text.
std::string parse_go_duration(std::string_view text, int64_t& nanoseconds);
std::string go_duration(int64_t nanoseconds);  // "1.234567s", "1m2.5s", "12.5ms"

}  // namespace olx::server
