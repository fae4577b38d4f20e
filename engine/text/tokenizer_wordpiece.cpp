// WordPiece ("bert" in GGUF), after Hugging Face's BertTokenizer: normalise, cut at spaces and
// punctuation, then take the longest token that fits, from the left. GGUF spells a token that
// starts a word with U+2581 before it and drops the "##" of the others.

#include "engine/text/pretokenize/unicode.h"
#include "engine/text/tokenizer_base.h"

namespace olx::engine {
namespace {

constexpr std::string_view kWordMark = "\xE2\x96\x81";
constexpr size_t kMaxWordChars = 100;  // max_input_chars_per_word: longer words are unknown

// CJK ideographs, each of which is a word. The block that begins at U+2B920 does so in Hugging
// Face's normalizer too (Unicode has it at U+2B820).
bool is_ideograph(uint32_t c) {
  return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) ||
         (c >= 0x20000 && c <= 0x2A6DF) || (c >= 0x2A700 && c <= 0x2B73F) ||
         (c >= 0x2B740 && c <= 0x2B81F) || (c >= 0x2B920 && c <= 0x2CEAF) ||
         (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x2F800 && c <= 0x2FA1F);
}

bool is_bert_punctuation(uint32_t c) {
  const uint32_t classes = char_class(c);
  return (classes & kPunctuation) || (c < 128 && (classes & kSymbol));
}

class WordPieceTokenizer final : public TokenizerBase {
 public:
  explicit WordPieceTokenizer(const gguf::GgufFile& file) : TokenizerBase(file) {
    const auto role = [&](std::optional<int32_t> id, std::string_view spelling) {
      return id ? id : find(spelling);
    };
    bos_to_add_ = role(special_.classify ? special_.classify : special_.bos, "[CLS]");
    eos_to_add_ = role(special_.separator ? special_.separator : special_.eos, "[SEP]");
    special_.unknown = role(special_.unknown, "[UNK]");
    if (!special_.bos) special_.bos = bos_to_add_;
    lowercase_ = bool_or(file, "tokenizer.ggml.normalizer.lowercase", true);
    strip_accents_ = bool_or(file, "tokenizer.ggml.normalizer.strip_accents", lowercase_);
    drops_first_space_ = true;
    build_matchers();
  }

 protected:
  void encode_text(std::string_view text, bool, std::vector<int32_t>& out) const override {
    const std::vector<uint32_t> codes = normalize(text);
    for (size_t pos = 0; pos < codes.size();) {
      if (is_white_space(codes[pos])) {
        ++pos;
        continue;
      }
      size_t end = pos + 1;
      if (!is_bert_punctuation(codes[pos])) {
        while (end < codes.size() && !is_white_space(codes[end]) &&
               !is_bert_punctuation(codes[end]))
          ++end;
      }
      encode_word(std::span(codes).subspan(pos, end - pos), out);
      pos = end;
    }
  }

  std::string normal_bytes(int32_t id) const override {
    const std::string_view text = vocabulary_.text(id);
    if (!text.starts_with(kWordMark)) return std::string(text);
    return ' ' + std::string(text.substr(kWordMark.size()));
  }

 private:
  // BertNormalizer: clean_text, handle_chinese_chars, strip_accents, lowercase, in this order.
  std::vector<uint32_t> normalize(std::string_view text) const {
    std::vector<uint32_t> codes;
    codes.reserve(text.size());
    for (size_t pos = 0; pos < text.size();) {
      const Utf8Char c = decode_utf8(text, pos);
      pos += c.n_bytes;
      const bool is_plain_space = c.code == '\t' || c.code == '\n' || c.code == '\r';
      if (c.code == 0 || c.code == kReplacementChar ||
          (!is_plain_space && is_control_or_format(c.code))) {
        continue;  // also vertical tab, form feed and U+0085, which are control characters first
      }
      if (is_white_space(c.code)) {
        codes.push_back(' ');
      } else if (is_ideograph(c.code)) {
        codes.insert(codes.end(), {' ', c.code, ' '});
      } else {
        codes.push_back(c.code);
      }
    }
    if (strip_accents_) {
      decompose(codes);
      std::erase_if(codes, is_nonspacing_mark);
    }
    if (lowercase_) {
      std::vector<uint32_t> lower;
      lower.reserve(codes.size());
      for (const uint32_t code : codes) append_lower(lower, code);
      codes.swap(lower);
    }
    return codes;
  }

  void encode_word(std::span<const uint32_t> word, std::vector<int32_t>& out) const {
    const size_t n_before = out.size();
    bool is_known = word.size() <= kMaxWordChars;
    if (is_known) {
      // Text of the word behind its mark, and where each character ends in it.
      std::string marked(kWordMark);
      std::array<uint16_t, kMaxWordChars> ends{};
      for (size_t i = 0; i < word.size(); ++i) {
        append_utf8(marked, word[i]);
        ends[i] = static_cast<uint16_t>(marked.size());
      }
      size_t start = 0;  // bytes; the first piece includes the mark
      for (size_t first = 0; first < word.size() && is_known;) {
        size_t last = word.size();
        int32_t id = Vocabulary::kNone;
        for (; last > first; --last) {
          id = vocabulary_.find(std::string_view(marked).substr(start, ends[last - 1] - start));
          if (id != Vocabulary::kNone && vocabulary_.kind(id) == TokenKind::kNormal) break;
          id = Vocabulary::kNone;
        }
        is_known = id != Vocabulary::kNone;
        if (!is_known) break;
        out.push_back(id);
        first = last;
        start = ends[last - 1];
      }
    }
    if (!is_known) {
      out.resize(n_before);
      if (special_.unknown) out.push_back(*special_.unknown);
    }
  }

  bool lowercase_ = true;
  bool strip_accents_ = true;
};

}  // namespace

std::unique_ptr<Tokenizer> make_wordpiece_tokenizer(const gguf::GgufFile& file) {
  return std::make_unique<WordPieceTokenizer>(file);
}

}  // namespace olx::engine
