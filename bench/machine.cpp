#include "bench/machine.h"

#include <sys/resource.h>

#include <fstream>

namespace olx::bench {

std::string cpu_name() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);)
    if (line.starts_with("model name") && line.find(':') != std::string::npos) return line.substr(line.find(':') + 2);
  return "unknown CPU";
}

uint64_t peak_memory_bytes() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return static_cast<uint64_t>(usage.ru_maxrss) * 1024;
}

bool has_asserts() {
#ifdef NDEBUG
  return false;
#else
  return true;
#endif
}

}  // namespace olx::bench
