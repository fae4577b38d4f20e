#include "server/registry/auth.h"

#include <openssl/evp.h>
#include <openssl/rand.h>

#include <algorithm>
#include <array>
#include <system_error>

#include "gguf/ascii.h"
#include "gguf/value.h"
#include "server/registry/http_client.h"
#include "server/registry/proxy.h"
#include "server/store/digest.h"
#include "server/store/files.h"

namespace olx::server {
namespace fs = std::filesystem;
namespace {

using Kind = NetworkError::Kind;
constexpr size_t kKeyBytes = 32, kSignatureBytes = 64;
constexpr uint64_t kMaxKeyFileBytes = 16 << 10;
constexpr std::string_view kBegin = "-----BEGIN OPENSSH PRIVATE KEY-----", kEnd = "-----END OPENSSH PRIVATE KEY-----";
constexpr std::string_view kOpensshMagic("openssh-key-v1\0", 15);
constexpr std::string_view kType = "ssh-ed25519";

bool starts_ignoring_case(std::string_view text, std::string_view prefix) {
  return ascii::equal_ignoring_case(text.substr(0, prefix.size()), prefix);
}

// The strings of OpenSSH's format: 32 bits of length, most significant first, then the bytes.
void put_u32(std::string& out, uint32_t value) {
  for (int shift = 24; shift >= 0; shift -= 8) out += static_cast<char>(value >> shift);
}
void put_string(std::string& out, std::string_view text) {
  put_u32(out, static_cast<uint32_t>(text.size()));
  out += text;
}
[[noreturn]] void refuse_key(const std::string& why) { throw gguf::FormatError("id_ed25519: " + why); }
uint32_t take_u32(std::string_view& in) {
  if (in.size() < 4) refuse_key("it ends early");
  uint32_t value = 0;
  for (int i = 0; i < 4; ++i) value = value << 8 | static_cast<unsigned char>(in[static_cast<size_t>(i)]);
  in.remove_prefix(4);
  return value;
}
std::string_view take_string(std::string_view& in) {
  const uint32_t size = take_u32(in);
  if (size > in.size()) refuse_key("it ends early");
  const std::string_view text = in.substr(0, size);
  in.remove_prefix(size);
  return text;
}

std::string unbase64(std::string_view text) {
  std::string plain;
  for (const char c : text)
    if (c != '\n' && c != '\r' && c != ' ') plain += c;
  if (plain.size() % 4 != 0 || plain.empty()) refuse_key("expected base64 between the lines BEGIN and END");
  std::string out(plain.size() / 4 * 3, '\0');
  const int n = EVP_DecodeBlock(reinterpret_cast<unsigned char*>(out.data()), reinterpret_cast<const unsigned char*>(plain.data()),
                                static_cast<int>(plain.size()));
  if (n < 0) refuse_key("expected base64 between the lines BEGIN and END");
  const size_t n_padding = static_cast<size_t>(std::count(plain.end() - 2, plain.end(), '='));
  out.resize(static_cast<size_t>(n) - n_padding);
  return out;
}

// The 32 secret bytes of an unencrypted OpenSSH key.
std::string seed_of(std::string_view text) {
  const size_t begin = text.find(kBegin), end = text.find(kEnd);
  if (begin == std::string_view::npos || end == std::string_view::npos || end < begin + kBegin.size()) refuse_key("expected an OpenSSH private key");
  const std::string blob = unbase64(text.substr(begin + kBegin.size(), end - begin - kBegin.size()));
  std::string_view in = blob;
  if (!in.starts_with(kOpensshMagic)) refuse_key("expected an OpenSSH private key");
  in.remove_prefix(kOpensshMagic.size());
  if (take_string(in) != "none") refuse_key("it has a passphrase; expected a key without");
  take_string(in);  // key derivation
  take_string(in);  // its options
  if (take_u32(in) != 1) refuse_key("expected one key");
  take_string(in);  // the public key, which is in the private part too
  std::string_view secret = take_string(in);
  const uint32_t check = take_u32(secret);
  if (take_u32(secret) != check) refuse_key("its check numbers differ");
  if (take_string(secret) != kType) refuse_key("expected an ssh-ed25519 key");
  take_string(secret);
  const std::string_view both = take_string(secret);  // secret, then public
  if (both.size() != 2 * kKeyBytes) refuse_key("expected 64 bytes of key");
  return std::string(both.substr(0, kKeyBytes));
}

std::string public_blob(std::string_view public_key) {
  std::string blob;
  put_string(blob, kType);
  put_string(blob, public_key);
  return blob;
}

std::string openssh_text(std::string_view seed, std::string_view public_key) {
  std::array<unsigned char, 4> check{};
  RAND_bytes(check.data(), static_cast<int>(check.size()));
  std::string secret(reinterpret_cast<const char*>(check.data()), check.size());
  secret += secret;
  put_string(secret, kType);
  put_string(secret, public_key);
  put_string(secret, std::string(seed) + std::string(public_key));
  put_string(secret, "");  // comment
  for (char pad = 1; secret.size() % 8 != 0; ++pad) secret += pad;
  std::string blob(kOpensshMagic);
  put_string(blob, "none");
  put_string(blob, "none");
  put_string(blob, "");
  put_u32(blob, 1);
  put_string(blob, public_blob(public_key));
  put_string(blob, secret);
  const std::string lines = base64(blob);
  std::string text = std::string(kBegin) + "\n";
  for (size_t at = 0; at < lines.size(); at += 70) text += lines.substr(at, 70) + "\n";
  return text + std::string(kEnd) + "\n";
}

void write_file(const fs::path& path, std::string_view text, unsigned mode) {
  fs::path temporary = path;
  temporary += unique_name(".new");
  File file = File::create_exclusively(temporary, mode);
  file.write_all(text);
  file.sync();
  file.close();
  publish(temporary, path);
}

}  // namespace

std::optional<Challenge> parse_challenge(std::string_view header) {
  if (!starts_ignoring_case(header, "bearer ")) return std::nullopt;
  header.remove_prefix(7);
  Challenge challenge;
  while (!header.empty()) {
    while (!header.empty() && (header.front() == ' ' || header.front() == ',')) header.remove_prefix(1);
    const size_t equals = header.find('=');
    if (equals == std::string_view::npos) break;
    const std::string_view key = header.substr(0, equals);
    header.remove_prefix(equals + 1);
    std::string value;
    if (header.starts_with('"')) {
      const size_t close = header.find('"', 1);
      if (close == std::string_view::npos) return std::nullopt;
      value = header.substr(1, close - 1);
      header.remove_prefix(close + 1);
    } else {
      const size_t comma = std::min(header.find(','), header.size());
      value = header.substr(0, comma);
      header.remove_prefix(comma);
    }
    if (starts_ignoring_case(key, "realm") && key.size() == 5) challenge.realm = value;
    if (starts_ignoring_case(key, "service") && key.size() == 7) challenge.service = value;
    if (starts_ignoring_case(key, "scope") && key.size() == 5) challenge.scope = value;
  }
  if (challenge.realm.empty()) return std::nullopt;
  return challenge;
}

Url token_url(const Challenge& challenge, const Url& registry, std::string_view nonce, int64_t unix_seconds) {
  const auto realm = parse_url(challenge.realm);
  if (!realm) throw NetworkError(Kind::kFatal, "the registry's realm is no http address");
  if (realm->host != registry.host)
    throw NetworkError(Kind::kFatal, "realm host \"" + realm->host + "\" does not match original host \"" + registry.host + "\"");
  if (!realm->has_origin_of(registry))
    throw NetworkError(Kind::kFatal, "realm \"" + realm->origin() + "\" does not match the registry \"" + registry.origin() + "\"");
  Url url = *realm;
  url.target += url.target.find('?') == std::string::npos ? '?' : '&';
  url.target += "nonce=" + percent_encoded(nonce);
  for (std::string_view rest = challenge.scope; !rest.empty();) {
    const size_t space = std::min(rest.find(' '), rest.size());
    if (space > 0) url.target += "&scope=" + percent_encoded(rest.substr(0, space));
    rest.remove_prefix(std::min(space + 1, rest.size()));
  }
  url.target += "&service=" + percent_encoded(challenge.service) + "&ts=" + std::to_string(unix_seconds);
  return url;
}

std::string random_nonce() {
  std::array<unsigned char, 16> bytes{};
  if (RAND_bytes(bytes.data(), static_cast<int>(bytes.size())) != 1) throw NetworkError(Kind::kFatal, "no random numbers");
  std::string text = base64(std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
  while (text.ends_with('=')) text.pop_back();
  for (char& c : text) c = c == '+' ? '-' : c == '/' ? '_' : c;
  return text;
}

struct IdentityKey::Impl {
  EVP_PKEY* key = nullptr;
  std::string public_key;
  ~Impl() { EVP_PKEY_free(key); }
};

IdentityKey::IdentityKey(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
IdentityKey::~IdentityKey() = default;
IdentityKey::IdentityKey(IdentityKey&&) noexcept = default;

IdentityKey IdentityKey::load_or_create(const fs::path& folder) {
  const fs::path path = folder / "id_ed25519";
  const std::optional<std::string> text = read_small_file(path, kMaxKeyFileBytes);
  std::string seed(kKeyBytes, '\0');
  if (text) seed = seed_of(*text);
  else if (RAND_bytes(reinterpret_cast<unsigned char*>(seed.data()), static_cast<int>(kKeyBytes)) != 1) refuse_key("no random numbers");

  auto impl = std::make_unique<Impl>();
  impl->key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nullptr, reinterpret_cast<const unsigned char*>(seed.data()), kKeyBytes);
  impl->public_key.resize(kKeyBytes);
  size_t size = kKeyBytes;
  if (impl->key == nullptr || EVP_PKEY_get_raw_public_key(impl->key, reinterpret_cast<unsigned char*>(impl->public_key.data()), &size) != 1)
    refuse_key("OpenSSL cannot use it");
  IdentityKey key(std::move(impl));
  if (!text) {
    create_folders(folder);
    write_file(folder / "id_ed25519.pub", key.public_line() + "\n", 0644);
    write_file(path, openssh_text(seed, key.impl_->public_key), 0600);
  }
  return key;
}

std::string IdentityKey::public_line() const { return std::string(kType) + " " + base64(public_blob(impl_->public_key)); }

std::string IdentityKey::authorization(std::string_view method, std::string_view url) const {
  const std::string message = std::string(method) + "," + std::string(url) + "," + base64(sha256_of("").hex());
  std::string signature(kSignatureBytes, '\0');
  size_t size = signature.size();
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  const bool is_signed = context != nullptr && EVP_DigestSignInit(context, nullptr, nullptr, nullptr, impl_->key) == 1 &&
                         EVP_DigestSign(context, reinterpret_cast<unsigned char*>(signature.data()), &size,
                                        reinterpret_cast<const unsigned char*>(message.data()), message.size()) == 1;
  EVP_MD_CTX_free(context);
  if (!is_signed) refuse_key("OpenSSL cannot sign with it");
  return base64(public_blob(impl_->public_key)) + ":" + base64(signature);
}

}  // namespace olx::server
