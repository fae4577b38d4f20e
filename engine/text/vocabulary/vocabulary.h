#pragma once
// Vocabulary: the token table of a GGUF file (texts, kinds, scores), checked and copied, with a
// hash index by text. Shared by the tokenizers; it knows nothing of how text is cut into tokens.

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "engine/text/tokenizer.h"

namespace olx::engine {

// 64-bit hash of bytes. The seed differs from process to process, so that a file cannot be made to
// collide.
uint64_t hash_bytes(std::string_view bytes, uint64_t seed);
uint64_t random_seed();

class Vocabulary {
 public:
  static constexpr int32_t kNone = -1;

  // Reads tokenizer.ggml.{tokens,token_type,scores}. Throws gguf::FormatError when their lengths
  // differ, a type or score is invalid, or a byte token is not spelled <0xHH>.
  explicit Vocabulary(const gguf::GgufFile& file);

  int32_t size() const { return static_cast<int32_t>(kinds_.size()); }
  bool contains(int64_t id) const { return id >= 0 && id < size(); }
  std::string_view text(int32_t id) const {
    return {arena_.data() + offsets_[static_cast<size_t>(id)],
            offsets_[static_cast<size_t>(id) + 1] - offsets_[static_cast<size_t>(id)]};
  }
  TokenKind kind(int32_t id) const { return kinds_[static_cast<size_t>(id)]; }
  void set_kind(int32_t id, TokenKind kind) { kinds_[static_cast<size_t>(id)] = kind; }
  bool has_kinds() const { return has_kinds_; }  // the file says them
  float score(int32_t id) const {
    return scores_.empty() ? 0.0f : scores_[static_cast<size_t>(id)];
  }
  uint8_t byte_of(int32_t id) const;  // of a kByte token
  size_t max_token_bytes() const { return max_token_bytes_; }

  // The token of this text, kNone when absent. Of several with one text, the lowest id. Empty texts
  // are never found.
  int32_t find(std::string_view text) const;
  // find() for each of keys, at most kMaxBatch. Waits for memory once a step instead of once a key:
  // the merges of Llama 3 (840 000 look-ups) take a third of the time.
  static constexpr size_t kMaxBatch = 96;
  void find_batch(std::span<const std::string_view> keys, std::span<int32_t> ids) const;

 private:
  struct Slot {
    uint32_t tag = 0;
    int32_t id = kNone;
  };
  void build_index();
  int32_t find_hashed(std::string_view key, uint64_t hash) const;

  std::vector<char> arena_;
  std::vector<uint32_t> offsets_;  // size() + 1
  std::vector<TokenKind> kinds_;
  std::vector<float> scores_;
  std::vector<Slot> slots_;  // open addressing, a power of two, at most half full
  uint64_t seed_ = 0;
  size_t max_token_bytes_ = 0;
  bool has_kinds_ = false;
};

// The byte of "<0xHH>"; nothing for any other text.
std::optional<uint8_t> parse_byte_token(std::string_view text);

}  // namespace olx::engine
