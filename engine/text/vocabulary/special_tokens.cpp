#include "engine/text/vocabulary/special_tokens.h"

#include <algorithm>
#include <string>

namespace olx::engine {
namespace {

// End of a turn or of a text, in the vocabularies of published models.
constexpr std::string_view kEndSpellings[] = {
    "<|eot_id|>", "<|eom_id|>", "<|im_end|>", "<|end|>", "<|return|>", "<|call|>", "<|calls|>",
    "<|flush|>", "<|endoftext|>", "<|end_of_text|>", "<|end_of_turn|>", "<|eot|>", "<|eom|>",
    "<|END_OF_TURN_TOKEN|>", "<end_of_turn>", "<turn|>", "<end_of_utterance>", "<eos>", "</s>",
    "<EOT>", "_<EOT>", "[EOT]", "[EOS]",
    "<\xEF\xBD\x9C"
    "end\xE2\x96\x81of\xE2\x96\x81sentence\xEF\xBD\x9C>",
    // a file or a repository ends here, for models of code
    "<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<|repo_name|>", "<|fim_repo|>", "<fim-repo>",
    "<reponame>", "<|file_sep|>"};

// Other places in code that a text may not contain by accident.
constexpr std::string_view kControlSpellings[] = {"<|fim_prefix|>",
                                                  "<fim-prefix>",
                                                  "<fim_prefix>",
                                                  "<PRE>",
                                                  "\xE2\x96\x81<PRE>",
                                                  "<|code_prefix|>",
                                                  "<|fim_suffix|>",
                                                  "<fim-suffix>",
                                                  "<fim_suffix>",
                                                  "<SUF>",
                                                  "\xE2\x96\x81<SUF>",
                                                  "<|code_suffix|>",
                                                  "<|fim_middle|>",
                                                  "<fim-middle>",
                                                  "<fim_middle>",
                                                  "<MID>",
                                                  "\xE2\x96\x81<MID>",
                                                  "<|code_middle|>",
                                                  "<\xEF\xBD\x9C"
                                                  "fim\xE2\x96\x81"
                                                  "begin\xEF\xBD\x9C>",
                                                  "<\xEF\xBD\x9C"
                                                  "fim\xE2\x96\x81hole\xEF\xBD\x9C>",
                                                  "<\xEF\xBD\x9C"
                                                  "fim\xE2\x96\x81"
                                                  "end\xEF\xBD\x9C>"};

std::optional<int32_t> read_id(const gguf::GgufFile& file, const Vocabulary& vocabulary,
                               std::string_view name) {
  const std::string key = "tokenizer.ggml." + std::string(name);
  const gguf::Value* value = file.find(key);
  if (value == nullptr) return std::nullopt;
  const int64_t id = value->as_int(key);
  if (id == -1 || id == UINT32_MAX) return std::nullopt;  // how converters write "none"
  if (!vocabulary.contains(id)) {
    throw gguf::FormatError(file.path() + ": " + key + ": expected an id below " +
                            std::to_string(vocabulary.size()) + " (the vocabulary), file has " +
                            std::to_string(id));
  }
  return static_cast<int32_t>(id);
}

}  // namespace

SpellingMatcher::SpellingMatcher(const Vocabulary& vocabulary, std::vector<int32_t> ids)
    : ids_(std::move(ids)) {
  std::erase_if(ids_, [&](int32_t id) {
    const std::string_view text = vocabulary.text(id);
    return text.empty() || text.size() > kMaxSpellingBytes || vocabulary.find(text) != id;
  });
  std::sort(ids_.begin(), ids_.end(),
            [&](int32_t a, int32_t b) { return vocabulary.text(a) < vocabulary.text(b); });
  size_t i = 0;
  for (uint32_t byte = 0; byte <= 256; ++byte) {
    while (i < ids_.size() && static_cast<uint8_t>(vocabulary.text(ids_[i])[0]) < byte) ++i;
    first_byte_[byte] = static_cast<uint32_t>(i);
  }
}

SpellingMatcher::Match SpellingMatcher::next(const Vocabulary& vocabulary, std::string_view text,
                                             size_t pos) const {
  if (ids_.empty()) return {};
  for (; pos < text.size(); ++pos) {
    const auto first = static_cast<uint8_t>(text[pos]);
    size_t low = first_byte_[first], high = first_byte_[first + 1u];
    Match best{pos};
    for (size_t depth = 1; low < high; ++depth) {
      // All of [low, high) share the first `depth` bytes of text[pos…]; a spelling of just those
      // sorts first.
      if (const std::string_view spelling = vocabulary.text(ids_[low]); spelling.size() == depth) {
        best.n_bytes = depth;
        best.id = ids_[low];
        ++low;
      }
      if (pos + depth >= text.size()) break;
      const auto byte = static_cast<uint8_t>(text[pos + depth]);
      const auto at = [&](int32_t id) { return static_cast<uint8_t>(vocabulary.text(id)[depth]); };
      const auto begin = ids_.begin() + static_cast<ptrdiff_t>(low),
                 end = ids_.begin() + static_cast<ptrdiff_t>(high);
      const auto from = std::partition_point(begin, end, [&](int32_t id) { return at(id) < byte; });
      const auto to = std::partition_point(from, end, [&](int32_t id) { return at(id) == byte; });
      low = static_cast<size_t>(from - ids_.begin());
      high = static_cast<size_t>(to - ids_.begin());
    }
    if (best.n_bytes > 0) return best;
  }
  return {};
}

SpecialTokens::SpecialTokens(const gguf::GgufFile& file, Vocabulary& vocabulary)
    : bos(read_id(file, vocabulary, "bos_token_id")),
      eos(read_id(file, vocabulary, "eos_token_id")),
      eot(read_id(file, vocabulary, "eot_token_id")),
      eom(read_id(file, vocabulary, "eom_token_id")),
      unknown(read_id(file, vocabulary, "unknown_token_id")),
      separator(
          read_id(file, vocabulary, "seperator_token_id")),  // the specification's own spelling
      classify(read_id(file, vocabulary, "cls_token_id")) {
  if (!separator) separator = read_id(file, vocabulary, "separator_token_id");

  std::vector<int32_t>& ends = end_of_generation;
  for (const auto& id : {eos, eot, eom}) {
    if (id) ends.push_back(*id);
  }
  if (const gguf::Value* value = file.find("tokenizer.ggml.eos_token_ids")) {
    for (const int64_t id : value->as_ints("tokenizer.ggml.eos_token_ids")) {
      if (!vocabulary.contains(id)) {
        throw gguf::FormatError(
            file.path() + ": tokenizer.ggml.eos_token_ids: expected ids below " +
            std::to_string(vocabulary.size()) + ", file has " + std::to_string(id));
      }
      ends.push_back(static_cast<int32_t>(id));
    }
  }

  // Of a known spelling: control where the file calls it special or where no ordinary text looks
  // like it (<|…|>). An ordinary token of that spelling keeps its text in output and only counts as
  // special where special tokens are parsed.
  const auto find = [&](std::string_view spelling) -> std::optional<int32_t> {
    const int32_t id = vocabulary.find(spelling);
    return id == Vocabulary::kNone ? std::nullopt : std::optional(id);
  };
  const auto make_control = [&](int32_t id, std::string_view spelling) {
    const bool is_ordinary = vocabulary.has_kinds() && vocabulary.kind(id) == TokenKind::kNormal &&
                             !spelling.starts_with("<|");
    if (is_ordinary) {
      ordinary_look_alikes.push_back(id);
    } else {
      vocabulary.set_kind(id, TokenKind::kControl);
    }
    return !is_ordinary;
  };
  // "</s>" ends a text where "<s>" begins one. In Gemma both are user-defined: the HTML tag of
  // struck-out text.
  const auto open_tag = find("<s>");
  const bool s_is_markup =
      open_tag && vocabulary.has_kinds() && vocabulary.kind(*open_tag) == TokenKind::kUserDefined;
  for (const std::string_view spelling : kEndSpellings) {
    const auto id = find(spelling);
    if (!id || (s_is_markup && spelling == "</s>")) continue;
    if (make_control(*id, spelling)) ends.push_back(*id);
  }
  for (const std::string_view spelling : kControlSpellings) {
    if (const auto id = find(spelling)) make_control(*id, spelling);
  }
  // In OpenAI's harmony format, <|end|> ends a message; only <|return|> and <|call|> end the
  // answer.
  const auto end_of_message = find("<|end|>");
  const bool is_harmony =
      (find("<|return|>") && find("<|call|>")) || (find("<|calls|>") && find("<|flush|>"));
  if (end_of_message && is_harmony) std::erase(ends, *end_of_message);

  if (!vocabulary.has_kinds()) {
    for (const auto& id : {bos, eos, eot, eom, unknown, separator, classify}) {
      if (id) vocabulary.set_kind(*id, id == unknown ? TokenKind::kUnknown : TokenKind::kControl);
    }
  }
  std::sort(ends.begin(), ends.end());
  ends.erase(std::unique(ends.begin(), ends.end()), ends.end());
}

}  // namespace olx::engine
