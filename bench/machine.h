#pragma once
// What a report says about where it was measured.

#include <cstdint>
#include <string>

namespace olx::bench {

std::string cpu_name();
uint64_t peak_memory_bytes();   // high-water mark of this process
bool has_asserts();             // built without NDEBUG: figures are not comparable

}  // namespace olx::bench
