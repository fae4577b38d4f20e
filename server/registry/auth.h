#pragma once
// Signing in to a registry: the challenge it sends, the key of this user, and the address a token is fetched from.
// A token belongs to the registry's origin: a realm anywhere else is refused before a byte is sent. Used by registry/client.cpp.

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "server/registry/url.h"

namespace olx::server {

struct Challenge {
  std::string realm, service, scope;
};

// The value of a WWW-Authenticate header; nullopt when it is no Bearer challenge with a realm.
std::optional<Challenge> parse_challenge(std::string_view header);

// Where to fetch the token: the realm with nonce, scope, service and ts, in this order. Throws NetworkError when the realm is
// not of the registry's own scheme, host and port.
Url token_url(const Challenge& challenge, const Url& registry, std::string_view nonce, int64_t unix_seconds);

// An Ed25519 key as OpenSSH keeps it, made when there is none.
class IdentityKey {
 public:
  // `folder`: ~/.ollama. Its files are id_ed25519 (mode 0600) and id_ed25519.pub. Throws std::system_error or gguf::FormatError.
  static IdentityKey load_or_create(const std::filesystem::path& folder);
  ~IdentityKey();
  IdentityKey(IdentityKey&&) noexcept;

  // The value of the Authorization header for a request without a body: public key and signature.
  std::string authorization(std::string_view method, std::string_view url) const;
  // As in id_ed25519.pub, without a comment.
  std::string public_line() const;

 private:
  struct Impl;
  explicit IdentityKey(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// 16 random bytes in base64url.
std::string random_nonce();

}  // namespace olx::server
