#pragma once
// Where an IP address lies, and whether a registry may send the client there (server-side request forgery).
// Pure functions; used by the HTTP client before it connects.

#include <string_view>

namespace olx::server {

enum class AddressKind {
  kPublic,
  kPrivate,    // of a company or home network
  kLoopback,   // this machine
  kForbidden,  // link-local (where cloud machines keep their secrets), multicast, unspecified, no address at all
};

// Whether the text is an IP address at all, of whatever kind.
bool is_address(std::string_view text);

// Whether both texts are the same address, however they are written.
bool is_same_address(std::string_view a, std::string_view b);
// Whether `address` is one of a block, "10.0.0.0/8" or "fd00::/8". False when either is none.
bool is_in_block(std::string_view address, std::string_view block);

// An IPv4 address within an IPv6 one (mapped, NAT64, 6to4) counts as that IPv4 address.
AddressKind address_kind(std::string_view text);

// Whether a redirect may lead to `target`: to the open internet, or to the kind of network the registry itself is in.
bool may_lead_to(AddressKind target, AddressKind registry);

}  // namespace olx::server
