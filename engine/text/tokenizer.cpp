#include "engine/text/tokenizer.h"

#include <algorithm>

#include "engine/error.h"
#include "engine/text/pretokenize/unicode.h"
#include "engine/text/tokenizer_base.h"

namespace olx::engine {

bool bool_or(const gguf::GgufFile& file, std::string_view key, bool fallback) {
  const gguf::Value* value = file.find(key);
  return value == nullptr ? fallback : value->as_bool(key);
}

TokenizerBase::TokenizerBase(const gguf::GgufFile& file)
    : vocabulary_(file), special_(file, vocabulary_) {}

void TokenizerBase::build_matchers() {
  std::vector<int32_t> user_defined, all = special_.ordinary_look_alikes, controls = all;
  for (int32_t id = 0; id < vocabulary_.size(); ++id) {
    const TokenKind kind = vocabulary_.kind(id);
    if (kind == TokenKind::kUserDefined) user_defined.push_back(id);
    if (kind == TokenKind::kUserDefined || kind == TokenKind::kControl ||
        kind == TokenKind::kUnknown)
      all.push_back(id);
    if (kind == TokenKind::kControl || kind == TokenKind::kUnknown) controls.push_back(id);
  }
  // Phi-3's special tokens take the white space behind them ("rstrip" in its tokenizer.json). A
  // GGUF file does not say so; the family is known by its tokens.
  if (vocabulary_.find("<|placeholder1|>") != Vocabulary::kNone &&
      vocabulary_.find("<|assistant|>") != Vocabulary::kNone) {
    for (const int32_t id : all) {
      const std::string_view text = vocabulary_.text(id);
      if (text != "<unk>" && text != "<s>" && text != "<|endoftext|>") strip_after_.push_back(id);
    }
  }
  std::sort(strip_after_.begin(), strip_after_.end());
  user_defined_ = SpellingMatcher(vocabulary_, std::move(user_defined));
  all_special_ = SpellingMatcher(vocabulary_, std::move(all));
  controls_ = SpellingMatcher(vocabulary_, std::move(controls));
}

bool TokenizerBase::strips_space_after(int32_t id) const {
  return std::binary_search(strip_after_.begin(), strip_after_.end(), id);
}

namespace {

bool is_broken(std::span<const size_t> breaks, size_t begin, size_t end) {
  const auto inside = std::upper_bound(breaks.begin(), breaks.end(), begin);
  return inside != breaks.end() && *inside < end;
}

}  // namespace

std::vector<int32_t> TokenizerBase::encode(std::string_view text,
                                           const EncodeOptions& options) const {
  if (text.size() > kMaxTextBytes) {
    throw EngineError(ErrorCode::kInvalidRequest, "a text of " + std::to_string(text.size()) +
                                                      " bytes is too long to tokenize (at most " +
                                                      std::to_string(kMaxTextBytes) + ")");
  }
  std::vector<int32_t> out;
  out.reserve(text.size() / 3 + 2);
  if (options.add_special && bos_to_add_) out.push_back(*bos_to_add_);
  const SpellingMatcher& matcher = options.parse_special ? all_special_ : user_defined_;
  bool is_first = true;
  for (size_t pos = 0; pos < text.size();) {
    SpellingMatcher::Match match = matcher.next(vocabulary_, text, pos);
    while (match.n_bytes > 0 && is_broken(options.breaks, match.pos, match.pos + match.n_bytes))
      match = matcher.next(vocabulary_, text, match.pos + 1);
    const size_t end = match.n_bytes > 0 ? match.pos : text.size();
    if (end > pos) {
      encode_text(text.substr(pos, end - pos), is_first, out);
      is_first = false;
    }
    pos = end;
    if (match.n_bytes > 0) {
      out.push_back(match.id);
      is_first = true;
      pos += match.n_bytes;
      if (strips_space_after(match.id)) {
        while (pos < text.size() && static_cast<uint8_t>(text[pos]) < 128 &&
               is_white_space(static_cast<uint8_t>(text[pos])))
          ++pos;
      }
    }
  }
  if (options.add_special && eos_to_add_) out.push_back(*eos_to_add_);
  return out;
}

std::vector<ControlPlace> TokenizerBase::find_controls(std::string_view text) const {
  std::vector<ControlPlace> places;
  for (auto match = controls_.next(vocabulary_, text, 0); match.n_bytes > 0;
       match = controls_.next(vocabulary_, text, match.pos + 1)) {
    size_t inside = match.pos + 1;
    while (inside < text.size() && (static_cast<uint8_t>(text[inside]) & 0xC0) == 0x80) ++inside;
    if (inside < match.pos + match.n_bytes) places.push_back({match.pos, match.n_bytes, inside});
  }
  return places;
}

std::string TokenizerBase::token_bytes(int32_t id, bool with_special) const {
  if (!vocabulary_.contains(id)) return {};
  switch (vocabulary_.kind(id)) {
    case TokenKind::kNormal:
      return normal_bytes(id);
    case TokenKind::kByte:
      return std::string(1, static_cast<char>(vocabulary_.byte_of(id)));
    case TokenKind::kUserDefined:
      return std::string(vocabulary_.text(id));
    case TokenKind::kControl:
    case TokenKind::kUnknown:
      return with_special ? std::string(vocabulary_.text(id)) : std::string();
    case TokenKind::kUnused:
      break;
  }
  return {};
}

std::string TokenizerBase::decode(std::span<const int32_t> ids) const {
  std::string out;
  bool is_first = true;
  for (const int32_t id : ids) {
    std::string bytes = token_bytes(id);
    if (bytes.empty()) continue;
    const bool drops = is_first && drops_first_space_ && bytes[0] == ' ' &&
                       vocabulary_.kind(id) == TokenKind::kNormal;
    out.append(bytes, drops ? 1 : 0);
    is_first = false;
  }
  return out;
}

std::optional<int32_t> TokenizerBase::find(std::string_view text) const {
  const int32_t id = vocabulary_.find(text);
  return id == Vocabulary::kNone ? std::nullopt : std::optional(id);
}

bool TokenizerBase::is_end_of_generation(int32_t id) const {
  return std::binary_search(special_.end_of_generation.begin(), special_.end_of_generation.end(),
                            id);
}

std::unique_ptr<Tokenizer> make_tokenizer(const gguf::GgufFile& file) {
  constexpr std::string_view kKey = "tokenizer.ggml.model";
  const std::string_view model = file.get(kKey).as_string(kKey);
  if (model == "llama") return make_spm_tokenizer(file);
  if (model == "gpt2") return make_bpe_tokenizer(file);
  if (model == "bert") return make_wordpiece_tokenizer(file);
  throw EngineError(ErrorCode::kUnsupported, file.path() + ": tokenizer model '" +
                                                 std::string(model) +
                                                 "' is not supported (known: llama, gpt2, bert)");
}

}  // namespace olx::engine
