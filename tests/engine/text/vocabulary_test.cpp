// Hostile and unusual vocabularies: one clear error each, or defined behaviour; never a crash
// (threats.md, T-10, T-33).
#include "engine/text/vocabulary/vocabulary.h"

#include <limits>

#include "engine/error.h"
#include "tests/engine/text/vocabulary_file.h"
#include "tests/support/catch.h"

namespace olx::engine {
namespace {

using Catch::Matchers::Contains;
using tests::VocabularyFile;
using Ids = std::vector<int32_t>;

VocabularyFile small_spm() {
  VocabularyFile file;
  file.add("<unk>", TokenKind::kUnknown);
  file.add("<s>", TokenKind::kControl);
  file.add("</s>", TokenKind::kControl);
  file.add("\xE2\x96\x81", TokenKind::kNormal, -1);
  file.add("a", TokenKind::kNormal, -2);
  file.add(
      "\xE2\x96\x81"
      "a",
      TokenKind::kNormal, -3);
  return file;
}

VocabularyFile small_bpe() {
  VocabularyFile file;
  file.model = "gpt2";
  file.pre = "gpt-2";
  file.add_byte_alphabet();
  return file;
}

TEST_CASE("Vocabulary_RejectsTablesThatDoNotFitTogether", "[T-10]") {
  VocabularyFile file = small_spm();
  SECTION("fewer types than tokens") {
    file.types.pop_back();
    CHECK_THROWS_WITH(file.open(), Contains("token_type: expected 6 entries"));
  }
  SECTION("more types than tokens") {
    file.types.push_back(1);
    CHECK_THROWS_AS(file.open(), gguf::FormatError);
  }
  SECTION("fewer scores than tokens") {
    file.scores.pop_back();
    CHECK_THROWS_WITH(file.open(), Contains("scores: expected 6 entries"));
  }
  SECTION("a type that does not exist") {
    for (const int32_t type : {-1, 7, std::numeric_limits<int32_t>::max()}) {
      file.types[4] = type;
      CHECK_THROWS_WITH(file.open(), Contains("token 4: expected a type from 0 to 6"));
    }
  }
  SECTION("a score that is not a number") {
    file.scores[4] = std::numeric_limits<float>::quiet_NaN();
    CHECK_THROWS_AS(file.open(), gguf::FormatError);
  }
  SECTION("scores that are strings") {
    file.scores.clear();
    file.writer->set_strings("tokenizer.ggml.scores", file.tokens);
    CHECK_THROWS_AS(file.open(), gguf::FormatError);
  }
  SECTION("no token at all") {
    file.tokens.clear();
    file.types.clear();
    file.scores.clear();
    CHECK_THROWS_AS(file.open(), gguf::FormatError);
  }
}

TEST_CASE("Vocabulary_TakesByteTokensInStrictHexOnly", "[T-10]") {
  int n_valid = 0;
  for (int first = 0; first < 256; ++first) {
    for (int second = 0; second < 256; ++second) {
      const char text[] = {'<', '0', 'x', static_cast<char>(first), static_cast<char>(second), '>'};
      n_valid += parse_byte_token({text, sizeof text}).has_value();
    }
  }
  CHECK(n_valid == 22 * 22);
  CHECK(parse_byte_token("<0x4f>") == 0x4F);
  CHECK_FALSE(parse_byte_token("<0x4F> "));
  CHECK_FALSE(parse_byte_token("<0X4F>"));
  CHECK_FALSE(parse_byte_token(""));
  for (const char* text : {"<0xG0>", "<0x123>", "", "a", "<0x+1>"}) {
    VocabularyFile file = small_spm();
    file.add(text, TokenKind::kByte);
    CHECK_THROWS_WITH(file.open(), Contains("expected <0xHH>"));
  }
}

TEST_CASE("Vocabulary_RejectsSpecialIdsOutsideIt", "[T-10]") {
  for (const char* name : {"bos", "eos", "eot", "eom", "unknown", "seperator", "cls"}) {
    const std::string key = std::string("tokenizer.ggml.") + name + "_token_id";
    for (const uint32_t id : {6u, 7u, 1u << 20, 0x7FFFFFFFu, 0x80000000u, 0xFFFFFFFEu}) {
      VocabularyFile file = small_spm();
      file.writer->set_uint32(key, id);
      CHECK_THROWS_WITH(file.open(), Contains(key));
    }
    VocabularyFile none = small_spm();
    none.writer->set_uint32(key, 0xFFFFFFFF);
    CHECK_NOTHROW(none.open());
    VocabularyFile text = small_spm();
    text.writer->set_string(key, "1");
    CHECK_THROWS_AS(text.open(), gguf::FormatError);
  }
}

TEST_CASE("Vocabulary_FindsTheLowestOfTokensWithOneTextAndNeverTheEmptyOne") {
  VocabularyFile file = small_spm();
  file.add("a", TokenKind::kNormal, 5);
  file.add("", TokenKind::kUserDefined);
  file.add("", TokenKind::kControl);
  const auto tokenizer = file.open();
  CHECK(tokenizer->find("a") == 4);
  CHECK(tokenizer->find("") == std::nullopt);
  CHECK(tokenizer->token_bytes(6) == "a");
  CHECK(tokenizer->encode("aa", {.add_special = true, .parse_special = true}) == Ids{1, 5, 4});
  for (const int32_t id :
       {-1, 9, std::numeric_limits<int32_t>::min(), std::numeric_limits<int32_t>::max()}) {
    CHECK(tokenizer->token_bytes(id, true).empty());
    CHECK(tokenizer->text(id).empty());
    CHECK(tokenizer->kind(id) == TokenKind::kUnused);
    CHECK_FALSE(tokenizer->is_end_of_generation(id));
  }
}

TEST_CASE("Tokenizer_NamesWhatItDoesNotSupport") {
  VocabularyFile file = small_bpe();
  SECTION("model") {
    file.model = "rwkv";
    CHECK_THROWS_WITH(file.open(), Contains("'rwkv'"));
    CHECK_THROWS_AS(file.open(), EngineError);
  }
  SECTION("pre-tokenizer") {
    file.pre = "no-such-rule";
    CHECK_THROWS_WITH(file.open(), Contains("'no-such-rule'"));
    CHECK_THROWS_AS(file.open(), EngineError);
  }
  SECTION("no model") {
    file.model.clear();
    CHECK_THROWS_AS(file.open(), gguf::FormatError);
  }
}

TEST_CASE("Bpe_LeavesOutMergesItCannotResolveAndRejectsOnesItCannotRead") {
  VocabularyFile file = small_bpe();
  const int32_t ab = file.add("ab");
  SECTION("unknown parts") {
    file.merges = {"a zz", "zz b", "a c", "a b"};
    const auto tokenizer = file.open();
    CHECK(tokenizer->encode("ab", {}) == Ids{ab});
    CHECK(tokenizer->encode("ac", {}) == Ids{'a', 'c'});
  }
  SECTION("malformed") {
    for (const char* merge : {"", " ", "a", "ab ", "\xFF"}) {
      file.merges = {merge};
      CHECK_THROWS_WITH(file.open(), Contains("merges: entry 0"));
    }
  }
  SECTION("missing") {
    file.model = "";
    file.writer->set_string("tokenizer.ggml.model", "gpt2");
    CHECK_THROWS_WITH(file.open(), Contains("tokenizer.ggml.merges"));
  }
}

TEST_CASE("Tokenizer_RejectsTextsThatAreTooLong") {
  const auto tokenizer = small_bpe().open();
  const std::string text((64u << 20) + 1, 'a');
  CHECK_THROWS_AS(tokenizer->encode(text, {}), EngineError);
}

TEST_CASE("Tokenizer_WritesControlTokensOnlyWhereAskedTo") {
  SECTION("SPM, where merging could spell one") {
    VocabularyFile file = small_spm();
    for (const char* piece : {"<", "s", ">", "/", "<s", "</", "</s"})
      file.add(piece, TokenKind::kNormal, 1);
    const int32_t user = file.add("[x]", TokenKind::kUserDefined);
    const auto tokenizer = file.open();
    for (const char* text : {"<s>", "</s>", "a<s>a", "<unk>"}) {
      for (const int32_t id : tokenizer->encode(text, {}))
        CHECK(tokenizer->kind(id) != TokenKind::kControl);
    }
    CHECK(tokenizer->encode("</s>", {.parse_special = true}) == Ids{2});
    const Ids with_user = tokenizer->encode("a[x]", {});
    CHECK(with_user.back() == user);
  }
  SECTION("BPE, where merging could spell one") {
    VocabularyFile file = small_bpe();
    file.pre = "llama-bpe";  // takes whole words without merging
    const int32_t control = file.add("ab", TokenKind::kControl);
    file.merges = {"a b"};
    const auto tokenizer = file.open();
    CHECK(tokenizer->encode("ab", {}) == Ids{'a', 'b'});
    CHECK(tokenizer->encode("ab", {.parse_special = true}) == Ids{control});
    CHECK(tokenizer->token_bytes(control).empty());
    CHECK(tokenizer->token_bytes(control, true) == "ab");
  }
}

TEST_CASE("Tokenizer_TakesTheLeftmostLongestOfOverlappingSpecialTokens") {
  VocabularyFile file = small_bpe();
  const int32_t shorter = file.add("<|a", TokenKind::kUserDefined);
  const int32_t longer = file.add("<|a|>", TokenKind::kUserDefined);
  const int32_t inner = file.add("|><|", TokenKind::kUserDefined);
  const auto tokenizer = file.open();
  CHECK(tokenizer->encode("<|a|><|a", {}) == Ids{longer, shorter});
  CHECK(tokenizer->encode("x|><|a|>", {}) == Ids{'x', inner, 'a', '|', '>'});
  CHECK(tokenizer->encode("<|a|", {}) == Ids{shorter, '|'});
  CHECK(tokenizer->encode("<|", {}) == Ids{'<', '|'});
}

TEST_CASE("Tokenizer_LooksForSpellingsOfBoundedLengthOnly") {
  VocabularyFile file = small_bpe();
  const int32_t longest = file.add(std::string(256, 'x'), TokenKind::kUserDefined);
  file.add(std::string(257, 'y'), TokenKind::kUserDefined);
  for (size_t n = 1; n < 255; ++n) file.add(std::string(n, 'z') + "!", TokenKind::kUserDefined);
  const auto tokenizer = file.open();
  CHECK(tokenizer->encode(std::string(256, 'x'), {}) == Ids{longest});
  CHECK(tokenizer->encode(std::string(257, 'y'), {}).size() == 257);
  CHECK(tokenizer->encode(std::string(100'000, 'z'), {}).size() ==
        100'000);  // near misses at every place
}

TEST_CASE("Tokenizer_KnowsTheEndOfGeneration") {
  VocabularyFile file = small_bpe();
  const int32_t eos = file.add("<end>", TokenKind::kControl);
  const int32_t im_end = file.add("<|im_end|>", TokenKind::kUserDefined);
  const int32_t turn = file.add("<end_of_turn>", TokenKind::kControl);
  const int32_t plain = file.add("</s>");
  const int32_t eot = file.add("<stop>", TokenKind::kControl);
  file.writer->set_uint32("tokenizer.ggml.eos_token_id", static_cast<uint32_t>(eos));
  file.writer->set_uint32("tokenizer.ggml.eot_token_id", static_cast<uint32_t>(eot));
  const auto tokenizer = file.open();
  for (const int32_t id : {eos, im_end, turn, eot}) CHECK(tokenizer->is_end_of_generation(id));
  CHECK_FALSE(tokenizer->is_end_of_generation(plain));
  CHECK_FALSE(tokenizer->is_end_of_generation('a'));
  CHECK(tokenizer->eos() == eos);
  CHECK(tokenizer->encode("<|im_end|>", {}).size() > 1);  // no longer user-defined
}

TEST_CASE("Tokenizer_FollowsTheFlagsForBosAndEos") {
  for (const int add_bos : {-1, 0, 1}) {
    for (const int add_eos : {-1, 0, 1}) {
      VocabularyFile file = small_spm();
      file.writer->set_uint32("tokenizer.ggml.bos_token_id", 1);
      file.writer->set_uint32("tokenizer.ggml.eos_token_id", 2);
      if (add_bos >= 0) file.writer->set_bool("tokenizer.ggml.add_bos_token", add_bos == 1);
      if (add_eos >= 0) file.writer->set_bool("tokenizer.ggml.add_eos_token", add_eos == 1);
      const auto tokenizer = file.open();
      Ids expected;
      if (add_bos != 0) expected.push_back(1);
      expected.push_back(5);
      if (add_eos == 1) expected.push_back(2);
      CHECK(tokenizer->encode("a", {.add_special = true}) == expected);
      CHECK(tokenizer->encode("a", {}) == Ids{5});
      CHECK(tokenizer->adds_bos() == (add_bos != 0));
      CHECK(tokenizer->decode(expected) == "a");
    }
  }
}

TEST_CASE("Spm_FollowsItsOptionsForSpaces") {
  VocabularyFile file = small_spm();
  SECTION("no prefix") {
    file.writer->set_bool("tokenizer.ggml.add_space_prefix", false);
    const auto tokenizer = file.open();
    CHECK(tokenizer->encode("a a", {}) == Ids{4, 5});
    CHECK(tokenizer->decode(Ids{5, 4}) == " aa");
  }
  SECTION("extra spaces removed") {
    file.writer->set_bool("tokenizer.ggml.remove_extra_whitespaces", true);
    CHECK(file.open()->encode("  a   a  ", {}) == Ids{5, 5});
  }
  SECTION("unknown characters, without byte tokens") {
    const auto tokenizer = file.open();
    CHECK(tokenizer->encode("axyza", {}) == Ids{5, 0, 4});
    CHECK(tokenizer->encode("", {}) == Ids{});
  }
  SECTION("byte tokens") {
    file.add_bytes();
    const auto tokenizer = file.open();
    CHECK(tokenizer->encode("a\xC3\xA9", {}) == Ids{5, 6 + 0xC3, 6 + 0xA9});
    const std::string odd("a\xFF\x00\xED\xA0\x80\xC0", 7);
    CHECK(tokenizer->decode(tokenizer->encode(odd, {})) == odd);
  }
  SECTION("neither scores nor types") {
    file.scores.clear();
    file.types.clear();
    CHECK(file.open()->encode("a", {}) == Ids{5});
  }
}

}  // namespace
}  // namespace olx::engine
