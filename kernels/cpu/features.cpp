#include "kernels/cpu/features.h"

#include <sched.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace olx::kernels::cpu {
namespace {

struct Isa {
  std::string_view name;
  Features allowed;   // what may remain
  Features required;  // what must be there
};

constexpr Isa kIsas[] = {
    {"portable", kFeatureNone, kFeatureNone},
    {"avx2", kFeatureAvx2, kFeatureAvx2},
    {"avxvnni", kFeatureAvx2 | kFeatureAvxVnni, kFeatureAvx2 | kFeatureAvxVnni},
    {"avx512", kFeatureAvx2 | kFeatureAvx512 | kFeatureAvx512Vnni, kFeatureAvx512 | kFeatureAvx512Vnni},
    {"amx", kFeatureAvx2 | kFeatureAvx512 | kFeatureAvx512Vnni | kFeatureAmx,
     kFeatureAvx512 | kFeatureAvx512Vnni | kFeatureAmx},
    {"neon", kFeatureNeonDot, kFeatureNeonDot},
    {"i8mm", kFeatureNeonDot | kFeatureNeonI8mm, kFeatureNeonDot | kFeatureNeonI8mm},
};

}  // namespace

Features force_isa(std::string_view isa, Features available) {
  for (const Isa& row : kIsas) {
    if (row.name != isa) continue;
    if ((available & row.required) != row.required)
      throw DeviceError("cpu: this processor has no " + std::string(isa) + " (it has " +
                        std::string(isa_name(available)) + ")");
    return available & row.allowed;
  }
  throw DeviceError("cpu: unknown instruction set '" + std::string(isa) + "': expected portable, avx2, avxvnni, avx512, amx, neon or i8mm");
}

std::string_view isa_name(Features features) {
  std::string_view name = "portable";
  for (const Isa& row : kIsas)
    if (row.required != kFeatureNone && (features & row.required) == row.required) name = row.name;
  return name;
}

std::string processor_name() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);)
    if (line.starts_with("model name") && line.find(": ") != std::string::npos) return line.substr(line.find(": ") + 2);
  return "CPU";
}

namespace {

// Those this process may run on; empty: the system does not tell.
std::vector<int> allowed_cpus() {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  std::vector<int> cpus;
  if (::sched_getaffinity(0, sizeof allowed, &allowed) != 0) return cpus;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu)
    if (CPU_ISSET(cpu, &allowed)) cpus.push_back(cpu);
  return cpus;
}

}  // namespace

int n_logical_cpus() {
  const auto n = static_cast<int>(allowed_cpus().size());
  return std::max(1, n > 0 ? n : static_cast<int>(std::thread::hardware_concurrency()));
}

int n_physical_cores() {
  // Two logical CPUs with the same list of siblings share a core.
  std::set<std::string> cores;
  for (const int cpu : allowed_cpus()) {
    std::ifstream list("/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/thread_siblings_list");
    std::string siblings;
    if (!std::getline(list, siblings)) siblings = "cpu" + std::to_string(cpu);
    cores.insert(siblings);
  }
  return cores.empty() ? n_logical_cpus() : static_cast<int>(cores.size());
}

}  // namespace olx::kernels::cpu
