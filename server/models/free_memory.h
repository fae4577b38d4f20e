#pragma once
// How much memory a model may take without the system running out. Used by EngineHost.

#include <cstdint>
#include <string_view>

namespace olx::server {

// What Linux calls available, or less where the process's control group has a limit. UINT64_MAX: the system does not say.
uint64_t system_free_memory();

// MemAvailable of /proc/meminfo's text, in bytes; UINT64_MAX when there is none.
uint64_t available_in_meminfo(std::string_view text);
// What is left of a control group (v2) by its files' texts. The file cache it holds can be given back. UINT64_MAX: no limit.
uint64_t left_in_group(std::string_view memory_max, std::string_view memory_current, std::string_view memory_stat);

}  // namespace olx::server
