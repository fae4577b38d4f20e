// Byte-level BPE ("gpt2" in GGUF): words of the pre-tokenizer, each byte a symbol, joined in the
// order of the merge list. Tokens are spelled in GPT-2's alphabet, which has a printable character
// for every byte.

#include <array>
#include <bit>
#include <cstring>

#include "engine/error.h"
#include "engine/text/merge_queue.h"
#include "engine/text/pretokenize/pretokenizer.h"
#include "engine/text/tokenizer_base.h"

namespace olx::engine {
namespace {

// Printable Latin-1 bytes stand for themselves, the others for U+0100 upwards in order
// (bytes_to_unicode of GPT-2's encoder.py).
struct ByteAlphabet {
  std::array<uint32_t, 256> code_of{};
  std::array<int16_t, 512> byte_of{};
};
constexpr ByteAlphabet make_byte_alphabet() {
  ByteAlphabet a;
  for (auto& byte : a.byte_of) byte = -1;
  uint32_t n_others = 0;
  for (uint32_t byte = 0; byte < 256; ++byte) {
    const bool is_printable =
        (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
    a.code_of[byte] = is_printable ? byte : 256 + n_others++;
    a.byte_of[a.code_of[byte]] = static_cast<int16_t>(byte);
  }
  return a;
}
constexpr ByteAlphabet kAlphabet = make_byte_alphabet();

// (left id, right id) -> rank and id of the joined token.
class MergeTable {
 public:
  void reserve(size_t n) {
    slots_.assign(std::bit_ceil(n * 2 + 2), Slot{});
    shift_ = 64 - std::countr_zero(slots_.size());
    multiplier_ = random_seed() * 2 + 1;
  }
  void add(int32_t left, int32_t right, uint32_t rank, int32_t joined) {
    Slot& slot = slots_[locate(key_of(left, right))];
    if (slot.joined < 0)
      slot = {key_of(left, right), rank, joined};  // of two equal pairs the first counts
  }
  MergeResult find(int32_t left, int32_t right) const {
    if (left < 0 || right < 0) return {};
    const Slot& slot = slots_[locate(key_of(left, right))];
    return {slot.rank, slot.joined};
  }

 private:
  struct Slot {
    uint64_t key = 0;
    uint32_t rank = 0;
    int32_t joined = -1;
  };
  static uint64_t key_of(int32_t left, int32_t right) {
    return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
  }
  size_t locate(uint64_t key) const {
    const size_t mask = slots_.size() - 1;
    const uint64_t mixed = (key ^ key >> 29) * multiplier_;
    for (size_t at = mixed >> shift_;; at = (at + 1) & mask) {
      if (slots_[at].joined < 0 || slots_[at].key == key) return at;
    }
  }

  std::vector<Slot> slots_;
  int shift_ = 0;
  uint64_t multiplier_ = 1;
};

class BpeTokenizer final : public TokenizerBase {
 public:
  BpeTokenizer(const gguf::GgufFile& file, const PreTokenizer& rule)
      : TokenizerBase(file), rule_(rule) {
    if (bool_or(file, "tokenizer.ggml.add_bos_token", rule.adds_bos)) bos_to_add_ = special_.bos;
    if (bool_or(file, "tokenizer.ggml.add_eos_token", false)) eos_to_add_ = special_.eos;
    for (uint32_t byte = 0; byte < 256; ++byte) {
      std::string spelling;
      append_utf8(spelling, kAlphabet.code_of[byte]);
      byte_ids_[byte] = find_normal(spelling);
    }
    read_merges(file);
    build_matchers();
  }

 protected:
  void encode_text(std::string_view text, bool, std::vector<int32_t>& out) const override {
    ClassifiedText chars;
    classify(text, chars);
    std::vector<size_t> ends, scratch;
    split_words(rule_, chars, ends, scratch);
    MergeQueue queue;
    std::string spelling;
    size_t pos = 0, first_char = 0;
    for (const size_t end_char : ends) {
      size_t end = pos;
      for (size_t i = first_char; i < end_char; ++i) end += n_utf8_bytes(chars[i]);
      encode_word(text.substr(pos, end - pos), queue, spelling, out);
      pos = end;
      first_char = end_char;
    }
  }

  std::string normal_bytes(int32_t id) const override {
    const std::string_view text = vocabulary_.text(id);
    std::string out;
    out.reserve(text.size());
    for (size_t pos = 0; pos < text.size();) {
      const Utf8Char c = decode_utf8(text, pos);
      if (c.valid && c.code < kAlphabet.byte_of.size() && kAlphabet.byte_of[c.code] >= 0) {
        out += static_cast<char>(kAlphabet.byte_of[c.code]);
      } else {
        out.append(text, pos, c.n_bytes);  // not of the alphabet: as it is spelled
      }
      pos += c.n_bytes;
    }
    return out;
  }

 private:
  // Merging produces ordinary tokens; one of another kind is only ever written out whole.
  int32_t find_normal(std::string_view spelling) const {
    const int32_t id = vocabulary_.find(spelling);
    return is_mergeable(id) ? id : Vocabulary::kNone;
  }
  bool is_mergeable(int32_t id) const {
    return id != Vocabulary::kNone && vocabulary_.kind(id) != TokenKind::kControl;
  }

  // Pairs of which one part or the whole is not in the vocabulary are left out: they cannot take
  // part in an encoding.
  void read_merges(const gguf::GgufFile& file) {
    constexpr std::string_view kKey = "tokenizer.ggml.merges";
    const std::vector<std::string_view> merges = file.get(kKey).as_strings(kKey);
    merges_.reserve(merges.size());
    constexpr size_t kStep = Vocabulary::kMaxBatch / 3;
    std::array<std::string, kStep> joined;
    std::array<std::string_view, kStep * 3> keys;  // left, right, joined
    std::array<int32_t, kStep * 3> ids;
    for (size_t first = 0; first < merges.size(); first += kStep) {
      const size_t n = std::min(kStep, merges.size() - first);
      for (size_t i = 0; i < n; ++i) {
        const std::string_view merge = merges[first + i];
        const size_t space = merge.find(' ', 1);
        if (space == std::string_view::npos || space + 1 == merge.size()) {
          throw gguf::FormatError(file.path() + ": " + std::string(kKey) + ": entry " +
                                  std::to_string(first + i) +
                                  ": expected two parts and a space between them");
        }
        keys[i * 3] = merge.substr(0, space);
        keys[i * 3 + 1] = merge.substr(space + 1);
        joined[i].assign(keys[i * 3]).append(keys[i * 3 + 1]);
        keys[i * 3 + 2] = joined[i];
      }
      vocabulary_.find_batch(std::span(keys).first(n * 3), std::span(ids).first(n * 3));
      for (size_t i = 0; i < n; ++i) {
        const int32_t left = ids[i * 3], right = ids[i * 3 + 1], id = ids[i * 3 + 2];
        if (is_mergeable(left) && is_mergeable(right) && is_mergeable(id)) {
          merges_.add(left, right, static_cast<uint32_t>(first + i), id);
        }
      }
    }
  }

  void encode_word(std::string_view word, MergeQueue& queue, std::string& spelling,
                   std::vector<int32_t>& out) const {
    // A byte without a token is left out, as Hugging Face and llama.cpp do: unknown_token_id is
    // often that of <|endoftext|>.
    if (word.size() == 1) {
      const int32_t id = byte_ids_[static_cast<uint8_t>(word[0])];
      if (id != Vocabulary::kNone) out.push_back(id);
      return;
    }
    if (rule_.ignores_merges && word.size() <= vocabulary_.max_token_bytes()) {
      spelling.clear();
      for (const char c : word) append_utf8(spelling, kAlphabet.code_of[static_cast<uint8_t>(c)]);
      if (const int32_t id = find_normal(spelling); id != Vocabulary::kNone) {
        out.push_back(id);
        return;
      }
    }
    queue.clear();
    for (size_t i = 0; i < word.size(); ++i) {
      queue.add(static_cast<uint32_t>(i), 1, byte_ids_[static_cast<uint8_t>(word[i])]);
    }
    queue.run([&](const MergeSymbol& left, const MergeSymbol& right) {
      return merges_.find(left.id, right.id);
    });
    queue.for_each([&](const MergeSymbol& symbol) {
      if (symbol.id != Vocabulary::kNone) out.push_back(symbol.id);
    });
  }

  const PreTokenizer& rule_;
  std::array<int32_t, 256> byte_ids_{};
  MergeTable merges_;
};

}  // namespace

std::unique_ptr<Tokenizer> make_bpe_tokenizer(const gguf::GgufFile& file) {
  constexpr std::string_view kKey = "tokenizer.ggml.pre";
  const gguf::Value* value = file.find(kKey);
  const std::string_view name =
      value == nullptr ? std::string_view("default") : value->as_string(kKey);
  const PreTokenizer* rule = find_pretokenizer(name);
  if (rule == nullptr) {
    throw EngineError(ErrorCode::kUnsupported,
                      file.path() + ": pre-tokenizer '" + std::string(name) + "' is not supported");
  }
  return std::make_unique<BpeTokenizer>(file, *rule);
}

}  // namespace olx::engine
