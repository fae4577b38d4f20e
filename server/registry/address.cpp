#include "server/registry/address.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <string>
#include <vector>

namespace olx::server {
namespace {

struct Block {
  uint32_t network;
  int n_bits;
  AddressKind kind;
};

// IANA's special-purpose registry; what is left is public.
constexpr Block kBlocks[] = {
    {0x00000000, 8, AddressKind::kForbidden},   // this network
    {0x0a000000, 8, AddressKind::kPrivate},     // 10/8
    {0x64400000, 10, AddressKind::kPrivate},    // 100.64/10: carrier NAT
    {0x7f000000, 8, AddressKind::kLoopback},    // 127/8
    {0xa9fe0000, 16, AddressKind::kForbidden},  // 169.254/16: link-local
    {0xac100000, 12, AddressKind::kPrivate},    // 172.16/12
    {0xc0000000, 24, AddressKind::kPrivate},    // 192.0.0/24
    {0xc0a80000, 16, AddressKind::kPrivate},    // 192.168/16
    {0xc6120000, 15, AddressKind::kPrivate},    // 198.18/15: benchmarks
    {0xe0000000, 4, AddressKind::kForbidden},   // multicast
    {0xf0000000, 4, AddressKind::kForbidden},   // reserved, broadcast
};

AddressKind kind_of_v4(const uint8_t* bytes) {
  const uint32_t address = static_cast<uint32_t>(bytes[0]) << 24 | static_cast<uint32_t>(bytes[1]) << 16 |
                           static_cast<uint32_t>(bytes[2]) << 8 | bytes[3];
  for (const Block& block : kBlocks)
    if ((address ^ block.network) >> (32 - block.n_bits) == 0) return block.kind;
  return AddressKind::kPublic;
}

// 4 bytes, 16 bytes, or none.
std::vector<uint8_t> bytes_of(std::string_view text) {
  const std::string name(text);
  std::vector<uint8_t> bytes(16);
  if (::inet_pton(AF_INET6, name.c_str(), bytes.data()) == 1) return bytes;
  bytes.resize(4);
  if (::inet_pton(AF_INET, name.c_str(), bytes.data()) == 1) return bytes;
  return {};
}

}  // namespace

bool is_address(std::string_view text) { return !bytes_of(text).empty(); }

bool is_same_address(std::string_view a, std::string_view b) {
  const std::vector<uint8_t> bytes = bytes_of(a);
  return !bytes.empty() && bytes == bytes_of(b);
}

bool is_in_block(std::string_view address, std::string_view block) {
  const size_t slash = block.find('/');
  if (slash == std::string_view::npos) return false;
  const std::vector<uint8_t> bytes = bytes_of(address), network = bytes_of(block.substr(0, slash));
  const std::string_view digits = block.substr(slash + 1);
  size_t n_bits = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), n_bits);
  if (error != std::errc() || end != digits.data() + digits.size() || bytes.empty() || bytes.size() != network.size() || n_bits > 8 * bytes.size())
    return false;
  for (size_t bit = 0; bit < n_bits; ++bit)
    if ((((bytes[bit / 8] ^ network[bit / 8]) >> (7 - bit % 8)) & 1) != 0) return false;
  return true;
}

AddressKind address_kind(std::string_view text) {
  const std::string name(text);
  std::array<uint8_t, 16> v6{};
  if (::inet_pton(AF_INET, name.c_str(), v6.data()) == 1) return kind_of_v4(v6.data());
  if (::inet_pton(AF_INET6, name.c_str(), v6.data()) != 1) return AddressKind::kForbidden;
  const auto is_zero_until = [&](int end) { return std::all_of(v6.begin(), v6.begin() + end, [](uint8_t b) { return b == 0; }); };
  if (is_zero_until(15) && v6[15] == 1) return AddressKind::kLoopback;
  if (is_zero_until(10) && v6[10] == 0xff && v6[11] == 0xff) return kind_of_v4(&v6[12]);           // ::ffff:a.b.c.d
  if (is_zero_until(12)) return is_zero_until(16) ? AddressKind::kForbidden : kind_of_v4(&v6[12]);  // ::a.b.c.d
  if (v6[0] == 0x00 && v6[1] == 0x64 && v6[2] == 0xff && v6[3] == 0x9b) return kind_of_v4(&v6[12]);  // NAT64
  if (v6[0] == 0x20 && v6[1] == 0x02) return kind_of_v4(&v6[2]);                                    // 6to4
  if ((v6[0] & 0xfe) == 0xfc) return AddressKind::kPrivate;                                         // fc00::/7
  if (v6[0] == 0xff || (v6[0] == 0xfe && (v6[1] & 0xc0) == 0x80)) return AddressKind::kForbidden;
  if (v6[0] == 0xfe && (v6[1] & 0xc0) == 0xc0) return AddressKind::kPrivate;  // site-local
  return (v6[0] & 0xe0) == 0x20 ? AddressKind::kPublic : AddressKind::kForbidden;  // 2000::/3
}

bool may_lead_to(AddressKind target, AddressKind registry) {
  return target != AddressKind::kForbidden && (target == AddressKind::kPublic || target == registry);
}

}  // namespace olx::server
