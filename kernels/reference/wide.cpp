#include "kernels/reference/wide.h"

#include <map>
#include <mutex>

namespace olx::kernels::reference {
namespace {

struct Range {
  uintptr_t end;
  double* wide;
};

struct WideTable {
  std::mutex mutex;
  std::map<uintptr_t, Range> ranges;  // by first address
};

WideTable& table() {
  static WideTable instance;
  return instance;
}

}  // namespace

void add_wide_memory(const void* data, size_t size_bytes, double* wide) {
  const auto begin = reinterpret_cast<uintptr_t>(data);
  const std::lock_guard lock(table().mutex);
  table().ranges[begin] = {begin + size_bytes, wide};
}

void remove_wide_memory(const void* data) {
  const std::lock_guard lock(table().mutex);
  table().ranges.erase(reinterpret_cast<uintptr_t>(data));
}

double* find_wide(const void* data) {
  const auto address = reinterpret_cast<uintptr_t>(data);
  const std::lock_guard lock(table().mutex);
  auto next = table().ranges.upper_bound(address);
  if (next == table().ranges.begin()) return nullptr;
  const auto& [begin, range] = *--next;
  return address < range.end ? range.wide + (address - begin) / sizeof(float) : nullptr;
}

}  // namespace olx::kernels::reference
