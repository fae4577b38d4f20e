#include "server/json/random_id.h"

#include <fmt/format.h>

#include <random>

namespace olx::server {

std::string random_id(std::string_view prefix) {
  std::random_device random;
  return fmt::format("{}{:08x}{:08x}{:08x}", prefix, random(), random(), random());
}

std::string random_call_id(std::string_view prefix) {
  constexpr std::string_view kDigits = "abcdefghijklmnopqrstuvwxyz0123456789";
  std::random_device random;
  uint64_t bits = static_cast<uint64_t>(random()) << 32 | random();
  std::string id(prefix);
  for (int i = 0; i < 8; ++i, bits /= kDigits.size()) id += kDigits[bits % kDigits.size()];
  return id;
}

}  // namespace olx::server
