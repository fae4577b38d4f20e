#pragma once
// Tokenizer: text to token ids and back, for the vocabulary inside a GGUF file (also one without weights).
// Immutable after construction, so any thread may use it. Built by make_tokenizer; one class per algorithm behind it.

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "gguf/reader.h"

namespace olx::engine {

enum class TokenKind : uint8_t { kNormal = 1, kUnknown = 2, kControl = 3, kUserDefined = 4, kUnused = 5, kByte = 6 };

// Where a control token is spelled in a text.
struct ControlPlace {
  size_t begin, n_bytes;
  size_t inside;  // behind its first character
};

struct EncodeOptions {
  bool add_special = false;    // the model's own BOS / EOS rule
  bool parse_special = false;  // control tokens written in the text become their ids (user-defined ones always do)
  std::span<const size_t> breaks =
      {};  // ascending: what is written across one of these places is no special token
};

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  // Any bytes are accepted; invalid UTF-8 is encoded byte by byte or as the replacement character, as the algorithm has it.
  virtual std::vector<int32_t> encode(std::string_view text, const EncodeOptions& options) const = 0;
  // The control tokens written in the text, also where they overlap, those of one character aside.
  // None unless an algorithm has them.
  virtual std::vector<ControlPlace> find_controls(std::string_view) const { return {}; }
  // The bytes a token stands for in output; control tokens give "" unless with_special. Ids out of range give "".
  virtual std::string token_bytes(int32_t id, bool with_special = false) const = 0;
  // Whole text of a sequence (SPM drops the first space it added).
  virtual std::string decode(std::span<const int32_t> ids) const = 0;

  virtual int32_t vocab_size() const = 0;
  virtual TokenKind kind(int32_t id) const = 0;
  virtual std::string_view text(int32_t id) const = 0;               // as the file spells it
  virtual std::optional<int32_t> find(std::string_view text) const = 0;  // by that spelling
  virtual std::optional<int32_t> bos() const = 0;
  virtual std::optional<int32_t> eos() const = 0;
  virtual bool adds_bos() const = 0;
  virtual bool is_end_of_generation(int32_t id) const = 0;           // EOS, EOT, EOM and their known spellings
};

// Throws gguf::FormatError for a malformed vocabulary, EngineError(kUnsupported) naming a model or pre-tokenizer it does not know.
std::unique_ptr<Tokenizer> make_tokenizer(const gguf::GgufFile& file);

}  // namespace olx::engine
