#include "server/store/digest.h"

#include <openssl/evp.h>

#include <array>
#include <vector>

#include "gguf/ascii.h"
#include "gguf/check.h"
#include "server/store/files.h"

namespace olx::server {

std::optional<Digest> Digest::parse(std::string_view text) {
  constexpr size_t kPrefix = 7, kHex = 64;
  if (text.size() != kPrefix + kHex || !text.starts_with("sha256")) return std::nullopt;
  if (text[6] != ':' && text[6] != '-') return std::nullopt;
  std::string hex = ascii::lower(text.substr(kPrefix));
  for (const char c : hex)
    if (ascii::hex_digit(c) < 0) return std::nullopt;
  return Digest(std::move(hex));
}

struct Sha256::Context {
  EVP_MD_CTX* evp = EVP_MD_CTX_new();
  ~Context() { EVP_MD_CTX_free(evp); }
};

Sha256::Sha256() : context_(std::make_unique<Context>()) {
  OLX_CHECK(context_->evp != nullptr && EVP_DigestInit_ex(context_->evp, EVP_sha256(), nullptr) == 1);
}
Sha256::~Sha256() = default;
Sha256::Sha256(Sha256&&) noexcept = default;
Sha256& Sha256::operator=(Sha256&&) noexcept = default;

void Sha256::update(std::span<const char> bytes) {
  OLX_CHECK(EVP_DigestUpdate(context_->evp, bytes.data(), bytes.size()) == 1);
}

Digest Sha256::finish() {
  std::array<unsigned char, EVP_MAX_MD_SIZE> raw;
  unsigned int size = 0;
  OLX_CHECK(EVP_DigestFinal_ex(context_->evp, raw.data(), &size) == 1 && size == 32);
  constexpr char kHexDigits[] = "0123456789abcdef";
  std::string hex;
  for (unsigned int i = 0; i < size; ++i) {
    hex += kHexDigits[raw[i] >> 4];
    hex += kHexDigits[raw[i] & 15];
  }
  return Digest(std::move(hex));
}

Digest sha256_of(std::string_view bytes) {
  Sha256 hash;
  hash.update(bytes);
  return hash.finish();
}

Digest sha256_of_file(const std::string& path, const std::function<void(uint64_t)>& on_progress) {
  const File file = File::open_following_links(path);
  Sha256 hash;
  std::vector<char> buffer(1 << 20);
  uint64_t n_done = 0;
  while (const size_t n = file.read(buffer)) {
    hash.update(std::span(buffer).first(n));
    n_done += n;
    if (on_progress) on_progress(n_done);
  }
  return hash.finish();
}

}  // namespace olx::server
