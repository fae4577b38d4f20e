// SentencePiece's BPE model ("llama" in GGUF): the pair whose joint text is the token of the
// highest score is joined first. Spaces are written U+2581; a character without a token becomes the
// tokens of its bytes.

#include <bit>
#include <bitset>

#include "engine/text/merge_queue.h"
#include "engine/text/pretokenize/unicode.h"
#include "engine/text/tokenizer_base.h"

namespace olx::engine {
namespace {

constexpr std::string_view kSpaceMark = "\xE2\x96\x81";

// Ascending keys for descending scores.
uint32_t priority_of(float score) {
  const auto bits = std::bit_cast<uint32_t>(score + 0.0f);  // -0 becomes +0
  const uint32_t ascending = (bits & 0x80000000u) ? ~bits : bits | 0x80000000u;
  return ~ascending;
}

class SpmTokenizer final : public TokenizerBase {
 public:
  explicit SpmTokenizer(const gguf::GgufFile& file) : TokenizerBase(file) {
    // Ids that SentencePiece gives these three unless told otherwise.
    if (!special_.bos && vocabulary_.find("<s>") == 1) special_.bos = 1;
    if (!special_.eos && vocabulary_.find("</s>") == 2) special_.eos = 2;
    if (!special_.unknown && vocabulary_.find("<unk>") == 0) special_.unknown = 0;
    adds_space_prefix_ = bool_or(file, "tokenizer.ggml.add_space_prefix", true);
    removes_extra_spaces_ = bool_or(file, "tokenizer.ggml.remove_extra_whitespaces", false);
    drops_first_space_ = adds_space_prefix_;
    if (bool_or(file, "tokenizer.ggml.add_bos_token", true)) bos_to_add_ = special_.bos;
    if (bool_or(file, "tokenizer.ggml.add_eos_token", false)) eos_to_add_ = special_.eos;

    constexpr std::string_view kHex = "0123456789ABCDEF";
    for (uint32_t byte = 0; byte < 256; ++byte) {
      const char spelling[] = {'<', '0', 'x', kHex[byte >> 4], kHex[byte & 15], '>'};
      byte_ids_[byte] = vocabulary_.find({spelling, sizeof spelling});
    }
    for (int32_t id = 0; id < vocabulary_.size(); ++id) {
      const std::string_view text = vocabulary_.text(id);
      for (size_t at = text.find(kSpaceMark, 1); at != std::string_view::npos;
           at = text.find(kSpaceMark, at + 1)) {
        joins_space_.set(static_cast<uint8_t>(text[at - 1]));
      }
    }
    joins_space_.set(static_cast<uint8_t>(kSpaceMark.back()));
    build_matchers();
  }

 protected:
  void encode_text(std::string_view text, bool is_first, std::vector<int32_t>& out) const override {
    const std::string escaped = escape(text, is_first);
    MergeQueue queue;
    // Where no token has a space mark behind this byte, no merge can reach across: the parts are
    // independent of each other.
    for (size_t start = 0; start < escaped.size();) {
      size_t end = start;
      do {
        end = escaped.find(kSpaceMark, end + 1);
      } while (end != std::string::npos &&
               joins_space_.test(static_cast<uint8_t>(escaped[end - 1])));
      if (end == std::string::npos) end = escaped.size();
      encode_part(std::string_view(escaped).substr(start, end - start), queue, out);
      start = end;
    }
  }

  std::string normal_bytes(int32_t id) const override {
    const std::string_view text = vocabulary_.text(id);
    std::string out;
    size_t start = 0;
    for (size_t at; (at = text.find(kSpaceMark, start)) != std::string_view::npos;
         start = at + kSpaceMark.size()) {
      out.append(text, start, at - start);
      out += ' ';
    }
    return out.append(text, start);
  }

 private:
  std::string escape(std::string_view text, bool is_first) const {
    if (removes_extra_spaces_) {
      while (is_first && !text.empty() && text.front() == ' ') text.remove_prefix(1);
      while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
    }
    std::string out;
    out.reserve(text.size() + text.size() / 3 + kSpaceMark.size());
    if (text.empty()) return out;
    if (is_first && adds_space_prefix_) out += kSpaceMark;
    for (size_t i = 0; i < text.size(); ++i) {
      if (text[i] != ' ') {
        out += text[i];
      } else if (!removes_extra_spaces_ || i == 0 || text[i - 1] != ' ') {
        out += kSpaceMark;
      }
    }
    return out;
  }

  // The token of a text that merging may produce.
  int32_t find_piece(std::string_view text) const {
    const int32_t id = vocabulary_.find(text);
    if (id == Vocabulary::kNone) return id;
    const TokenKind kind = vocabulary_.kind(id);
    const bool is_piece =
        kind == TokenKind::kNormal || kind == TokenKind::kUserDefined || kind == TokenKind::kUnused;
    return is_piece ? id : Vocabulary::kNone;
  }

  void encode_part(std::string_view text, MergeQueue& queue, std::vector<int32_t>& out) const {
    queue.clear();
    for (size_t pos = 0; pos < text.size();) {
      const uint32_t n_bytes = decode_utf8(text, pos).n_bytes;
      queue.add(static_cast<uint32_t>(pos), n_bytes, Vocabulary::kNone);
      pos += n_bytes;
    }
    queue.run([&](const MergeSymbol& left, const MergeSymbol& right) -> MergeResult {
      const int32_t id = find_piece(text.substr(left.start, left.n_bytes + right.n_bytes));
      if (id == Vocabulary::kNone) return {};
      return {priority_of(vocabulary_.score(id)), id};
    });
    bool was_unknown = false;
    queue.for_each([&](const MergeSymbol& symbol) {
      const std::string_view piece = text.substr(symbol.start, symbol.n_bytes);
      const int32_t id = symbol.id != Vocabulary::kNone ? symbol.id : find_piece(piece);
      const bool is_known = id != Vocabulary::kNone;
      if (is_known) {
        out.push_back(id);
      } else if (!append_byte_tokens(piece, out) && !was_unknown && special_.unknown) {
        out.push_back(
            *special_.unknown);  // one for a run of unknown characters, as SentencePiece has it
      }
      was_unknown = !is_known;
    });
  }

  bool append_byte_tokens(std::string_view piece, std::vector<int32_t>& out) const {
    for (const char c : piece) {
      if (byte_ids_[static_cast<uint8_t>(c)] == Vocabulary::kNone) return false;
    }
    for (const char c : piece) out.push_back(byte_ids_[static_cast<uint8_t>(c)]);
    return true;
  }

  std::array<int32_t, 256> byte_ids_{};
  std::bitset<256>
      joins_space_;  // last bytes of characters that some token has before a space mark
  bool adds_space_prefix_ = true;
  bool removes_extra_spaces_ = false;
};

}  // namespace

std::unique_ptr<Tokenizer> make_spm_tokenizer(const gguf::GgufFile& file) {
  return std::make_unique<SpmTokenizer>(file);
}

}  // namespace olx::engine
