#pragma once
// TokenizerBase: what the three algorithms share — vocabulary, special tokens, BOS and EOS, cutting
// a text at tokens written in it. One class per algorithm derives from it, each in its own .cpp;
// make_tokenizer chooses. Not seen outside engine/text.

#include <memory>
#include <string>

#include "engine/text/vocabulary/special_tokens.h"
#include "engine/text/tokenizer.h"
#include "engine/text/vocabulary/vocabulary.h"

namespace olx::engine {

class TokenizerBase : public Tokenizer {
 public:
  // Longer texts are an EngineError(kInvalidRequest). One letter of a text can take 40 bytes of
  // memory meanwhile.
  static constexpr size_t kMaxTextBytes = 64u << 20;

  std::vector<int32_t> encode(std::string_view text, const EncodeOptions& options) const final;
  std::vector<ControlPlace> find_controls(std::string_view text) const final;
  std::string token_bytes(int32_t id, bool with_special = false) const final;
  std::string decode(std::span<const int32_t> ids) const final;
  int32_t vocab_size() const final { return vocabulary_.size(); }
  TokenKind kind(int32_t id) const final {
    return vocabulary_.contains(id) ? vocabulary_.kind(id) : TokenKind::kUnused;
  }
  std::string_view text(int32_t id) const final {
    return vocabulary_.contains(id) ? vocabulary_.text(id) : std::string_view();
  }
  std::optional<int32_t> find(std::string_view text) const final;
  std::optional<int32_t> bos() const final { return special_.bos; }
  std::optional<int32_t> eos() const final { return special_.eos; }
  bool adds_bos() const final { return bos_to_add_.has_value(); }
  bool is_end_of_generation(int32_t id) const final;

 protected:
  explicit TokenizerBase(const gguf::GgufFile& file);

  // Ids of a text without special tokens, appended to out. is_first: nothing or a special token
  // stands before it.
  virtual void encode_text(std::string_view text, bool is_first,
                           std::vector<int32_t>& out) const = 0;
  // Bytes of a kNormal token.
  virtual std::string normal_bytes(int32_t id) const = 0;

  Vocabulary vocabulary_;
  SpecialTokens special_;
  std::optional<int32_t> bos_to_add_, eos_to_add_;
  bool drops_first_space_ = false;  // decode() takes away the space that encoding added

  // Call at the end of construction, when kinds are final.
  void build_matchers();

 private:
  bool strips_space_after(int32_t id) const;

  SpellingMatcher user_defined_;
  SpellingMatcher all_special_;
  SpellingMatcher controls_;
  std::vector<int32_t>
      strip_after_;  // sorted: special tokens that swallow the white space behind them
};

// The boolean of a metadata key, or `fallback` where it is absent.
bool bool_or(const gguf::GgufFile& file, std::string_view key, bool fallback);

std::unique_ptr<Tokenizer> make_bpe_tokenizer(const gguf::GgufFile& file);
std::unique_ptr<Tokenizer> make_spm_tokenizer(const gguf::GgufFile& file);
std::unique_ptr<Tokenizer> make_wordpiece_tokenizer(const gguf::GgufFile& file);

}  // namespace olx::engine
