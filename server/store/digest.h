#pragma once
// Digest: a validated SHA-256 digest, and the hashing that makes one. Only parse() and Sha256 produce a Digest, so a path
// built from one cannot leave the blob folder. Used by the store, the API and, through server/wire.h, the CLI.

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace olx::server {

class Digest {
 public:
  // "sha256:<64 hex>" or "sha256-<64 hex>"; upper case hex is folded. nullopt for anything else.
  static std::optional<Digest> parse(std::string_view text);

  const std::string& hex() const { return hex_; }
  std::string text() const { return "sha256:" + hex_; }
  std::string file_name() const { return "sha256-" + hex_; }

  bool operator==(const Digest&) const = default;
  auto operator<=>(const Digest&) const = default;

 private:
  friend class Sha256;
  explicit Digest(std::string hex) : hex_(std::move(hex)) {}
  std::string hex_;
};

class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;
  void update(std::span<const char> bytes);
  Digest finish();  // once

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

Digest sha256_of(std::string_view bytes);
// Throws std::system_error. on_progress gets the bytes hashed so far.
Digest sha256_of_file(const std::string& path, const std::function<void(uint64_t)>& on_progress = {});

}  // namespace olx::server
