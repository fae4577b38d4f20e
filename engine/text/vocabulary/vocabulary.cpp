#include "engine/text/vocabulary/vocabulary.h"

#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <random>
#include <string>

#include "gguf/ascii.h"
#include "gguf/check.h"

namespace olx::engine {
namespace {

constexpr std::string_view kTokensKey = "tokenizer.ggml.tokens";
constexpr std::string_view kTypesKey = "tokenizer.ggml.token_type";
constexpr std::string_view kScoresKey = "tokenizer.ggml.scores";
constexpr size_t kMaxTokens = 1u << 24;

uint64_t load_tail(const char* p, size_t n) {
  uint64_t v = 0;
  std::memcpy(&v, p, n);
  return v;
}

// Both halves of the 128-bit product: every input bit reaches every output bit (the step of wyhash
// and its kin).
uint64_t fold(uint64_t a, uint64_t b) {
  __extension__ using Wide = unsigned __int128;
  const Wide product = static_cast<Wide>(a) * b;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

[[noreturn]] void bad(const gguf::GgufFile& file, std::string_view key, const std::string& what) {
  throw gguf::FormatError(file.path() + ": " + std::string(key) + ": " + what);
}

}  // namespace

uint64_t hash_bytes(std::string_view bytes, uint64_t seed) {
  constexpr uint64_t kA = 0x9E3779B97F4A7C15ull, kB = 0xD6E8FEB86659FD93ull;
  uint64_t h = seed ^ (bytes.size() * kA);
  const char* p = bytes.data();
  size_t n = bytes.size();
  for (; n > 8; n -= 8, p += 8) h = fold(h ^ load_tail(p, 8), kB);
  return fold(h ^ (n > 0 ? load_tail(p, n) : 0), seed | 1) ^ fold(h, kA);
}

uint64_t random_seed() {
  static const uint64_t seed = [] {
    std::random_device device;
    return (static_cast<uint64_t>(device()) << 32 | device()) | 1;
  }();
  return seed;
}

std::optional<uint8_t> parse_byte_token(std::string_view text) {
  if (text.size() != 6 || text.substr(0, 3) != "<0x" || text[5] != '>') return std::nullopt;
  const int high = ascii::hex_digit(text[3]), low = ascii::hex_digit(text[4]);
  if (high < 0 || low < 0) return std::nullopt;
  return static_cast<uint8_t>(high << 4 | low);
}

Vocabulary::Vocabulary(const gguf::GgufFile& file) : seed_(random_seed()) {
  const std::vector<std::string_view> texts = file.get(kTokensKey).as_strings(kTokensKey);
  const size_t n = texts.size();
  if (n == 0) bad(file, kTokensKey, "expected at least one token, file has none");
  if (n > kMaxTokens)
    bad(file, kTokensKey,
        "expected at most " + std::to_string(kMaxTokens) + " tokens, file has " +
            std::to_string(n));

  uint64_t n_bytes = 0;
  for (const std::string_view text : texts) n_bytes += text.size();
  if (n_bytes > UINT32_MAX) bad(file, kTokensKey, "texts are longer than 4 GiB");
  arena_.resize(n_bytes);
  offsets_.resize(n + 1);
  uint32_t offset = 0;
  for (size_t i = 0; i < n; ++i) {
    offsets_[i] = offset;
    if (!texts[i].empty()) std::memcpy(arena_.data() + offset, texts[i].data(), texts[i].size());
    offset += static_cast<uint32_t>(texts[i].size());
    max_token_bytes_ = std::max(max_token_bytes_, texts[i].size());
  }
  offsets_[n] = offset;

  kinds_.assign(n, TokenKind::kNormal);
  if (const gguf::Value* value = file.find(kTypesKey)) {
    has_kinds_ = true;
    const std::vector<int64_t> types = value->as_ints(kTypesKey);
    if (types.size() != n) {
      bad(file, kTypesKey,
          "expected " + std::to_string(n) + " entries (one a token), file has " +
              std::to_string(types.size()));
    }
    for (size_t i = 0; i < n; ++i) {
      // 0 is "undefined" in the specification: nothing is known of the token, so it is not one to
      // emit.
      if (types[i] < 0 || types[i] > 6) {
        bad(file, kTypesKey,
            "token " + std::to_string(i) + ": expected a type from 0 to 6, file has " +
                std::to_string(types[i]));
      }
      kinds_[i] = types[i] == 0 ? TokenKind::kUnused : static_cast<TokenKind>(types[i]);
      if (kinds_[i] == TokenKind::kByte && !parse_byte_token(texts[i])) {
        bad(file, kTokensKey,
            "byte token " + std::to_string(i) + ": expected <0xHH>, file has a text of " +
                std::to_string(texts[i].size()) + " bytes that is not that");
      }
    }
  }
  if (const gguf::Value* value = file.find(kScoresKey)) {
    const bool is_float = value->element_type() == gguf::ValueType::kFloat32 ||
                          value->element_type() == gguf::ValueType::kFloat64;
    if (is_float) {
      scores_ = value->as_floats(kScoresKey);
    } else {
      for (const int64_t score : value->as_ints(kScoresKey))
        scores_.push_back(static_cast<float>(score));
    }
    if (scores_.size() != n) {
      bad(file, kScoresKey,
          "expected " + std::to_string(n) + " entries (one a token), file has " +
              std::to_string(scores_.size()));
    }
    for (size_t i = 0; i < n; ++i) {
      if (std::isnan(scores_[i]))
        bad(file, kScoresKey, "token " + std::to_string(i) + ": the score is not a number");
    }
  }
  build_index();
}

void Vocabulary::build_index() {
  slots_.assign(std::bit_ceil(kinds_.size() * 2), Slot{});
  const uint64_t mask = slots_.size() - 1;
  for (int32_t id = 0; id < size(); ++id) {
    const std::string_view key = text(id);
    if (key.empty()) continue;
    const uint64_t hash = hash_bytes(key, seed_);
    const auto tag = static_cast<uint32_t>(hash >> 32);
    for (uint64_t at = hash & mask;; at = (at + 1) & mask) {
      Slot& slot = slots_[at];
      if (slot.id == kNone) {
        slot = {tag, id};
        break;
      }
      if (slot.tag == tag && text(slot.id) == key) break;
    }
  }
}

int32_t Vocabulary::find(std::string_view key) const {
  if (key.empty() || key.size() > max_token_bytes_) return kNone;
  return find_hashed(key, hash_bytes(key, seed_));
}

int32_t Vocabulary::find_hashed(std::string_view key, uint64_t hash) const {
  const uint64_t mask = slots_.size() - 1;
  const auto tag = static_cast<uint32_t>(hash >> 32);
  for (uint64_t at = hash & mask;; at = (at + 1) & mask) {
    const Slot& slot = slots_[at];
    if (slot.id == kNone) return kNone;
    if (slot.tag == tag && text(slot.id) == key) return slot.id;
  }
}

void Vocabulary::find_batch(std::span<const std::string_view> keys, std::span<int32_t> ids) const {
  OLX_CHECK(keys.size() <= kMaxBatch && ids.size() == keys.size());
  const uint64_t mask = slots_.size() - 1;
  std::array<uint64_t, kMaxBatch> hashes;
  for (size_t i = 0; i < keys.size(); ++i) {
    hashes[i] = hash_bytes(keys[i], seed_);
    __builtin_prefetch(&slots_[hashes[i] & mask]);
  }
  for (size_t i = 0; i < keys.size(); ++i) {
    ids[i] = slots_[hashes[i] & mask].id;  // where the search begins; most often where it ends
    if (ids[i] != kNone) __builtin_prefetch(&offsets_[static_cast<size_t>(ids[i])]);
  }
  for (size_t i = 0; i < keys.size(); ++i) {
    if (ids[i] != kNone) __builtin_prefetch(arena_.data() + offsets_[static_cast<size_t>(ids[i])]);
  }
  for (size_t i = 0; i < keys.size(); ++i) {
    ids[i] = keys[i].empty() ? kNone : find_hashed(keys[i], hashes[i]);
  }
}

uint8_t Vocabulary::byte_of(int32_t id) const { return parse_byte_token(text(id)).value_or(0); }

}  // namespace olx::engine
