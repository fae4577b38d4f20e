// Stop strings and characters cut over tokens at every place (threats.md, T-36).
#include "engine/text/detokenizer.h"

#include <random>

#include "tests/support/catch.h"

namespace olx::engine {
namespace {

// Tokens are listed texts.
class ListTokenizer final : public Tokenizer {
 public:
  explicit ListTokenizer(std::vector<std::string> pieces) : pieces_(std::move(pieces)) {}
  std::vector<int32_t> encode(std::string_view, const EncodeOptions&) const override { return {}; }
  std::string token_bytes(int32_t id, bool) const override {
    return pieces_.at(static_cast<size_t>(id));
  }
  std::string decode(std::span<const int32_t>) const override { return {}; }
  int32_t vocab_size() const override { return static_cast<int32_t>(pieces_.size()); }
  TokenKind kind(int32_t) const override { return TokenKind::kNormal; }
  std::string_view text(int32_t id) const override { return pieces_.at(static_cast<size_t>(id)); }
  std::optional<int32_t> find(std::string_view) const override { return {}; }
  std::optional<int32_t> bos() const override { return {}; }
  std::optional<int32_t> eos() const override { return {}; }
  bool adds_bos() const override { return false; }
  bool is_end_of_generation(int32_t) const override { return false; }

 private:
  std::vector<std::string> pieces_;
};

struct Result {
  std::vector<std::string> pieces;
  std::string all;
  bool stopped = false;
};

Result run(std::vector<std::string> pieces, std::vector<std::string> stops,
           bool drop_first_space = false) {
  const auto n = static_cast<int32_t>(pieces.size());
  const ListTokenizer tokenizer(std::move(pieces));
  Detokenizer detokenizer(tokenizer, std::move(stops), drop_first_space);
  Result result;
  for (int32_t id = 0; id < n; ++id) {
    const Detokenizer::Piece piece = detokenizer.push(id);
    result.pieces.push_back(piece.text);
    result.all += piece.text;
    result.stopped = result.stopped || piece.stopped;
    CHECK(piece.stopped == result.stopped);
  }
  result.pieces.push_back(detokenizer.flush());
  result.all += result.pieces.back();
  return result;
}

TEST_CASE("Detokenizer_NeverEmitsHalfACharacter") {
  const std::string text = "a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80z";
  for (size_t n = 1; n <= 4; ++n) {
    std::vector<std::string> pieces;
    for (size_t i = 0; i < text.size(); i += n) pieces.push_back(text.substr(i, n));
    const Result result = run(pieces, {});
    CHECK(result.all == text);
    for (const std::string& piece : result.pieces) {
      CHECK((piece.empty() || (static_cast<uint8_t>(piece[0]) & 0xC0) != 0x80));
      CHECK((piece.empty() || static_cast<uint8_t>(piece.back()) < 0xC0));
    }
  }
}

TEST_CASE("Detokenizer_ReplacesWhatIsNotUtf8", "[T-32]") {
  CHECK(run({"\xF0\x9F", "a"}, {}).all ==
        "\xEF\xBF\xBD"
        "a");                                          // cannot be completed
  CHECK(run({"\xF0\x9F"}, {}).all == "\xEF\xBF\xBD");  // at the end
  CHECK(run({"\xED\xA0\x80"}, {}).all == "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD");  // a surrogate
  CHECK(run({"\xC0\xAF", "\xFF"}, {}).all == "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD");
  CHECK(run({std::string("\0x", 2)}, {}).all == std::string("\0x", 2));
}

TEST_CASE("Detokenizer_CutsAtAStopStringHoweverItIsSplit", "[T-36]") {
  const std::string text = "Hello \xE2\x82\xAC END and more";
  for (size_t first = 0; first <= text.size(); ++first) {
    for (size_t second = first; second <= text.size(); ++second) {
      const Result result =
          run({text.substr(0, first), text.substr(first, second - first), text.substr(second)},
              {"zzz", "END"});
      CHECK(result.stopped);
      CHECK(result.all == "Hello \xE2\x82\xAC ");
    }
  }
}

TEST_CASE("Detokenizer_HoldsBackOnlyWhatMayBecomeAStopString") {
  const Result result = run({"abc</", "s", "x", "y<"}, {"</s>", ""});
  CHECK_FALSE(result.stopped);
  CHECK(result.pieces == std::vector<std::string>{"abc", "", "</sx", "y", "<"});
  CHECK(run({"aab"}, {"ab"}).all == "a");
  CHECK(run({"a", "a", "b", "c"}, {"ab"}).pieces == std::vector<std::string>{"", "a", "", "", ""});
  CHECK(run({"first second"}, {"second", "first"}).all == "");
}

TEST_CASE("Detokenizer_IgnoresStopStringsThatAreNotUtf8") {
  CHECK(run({"a\xC3\xA9z"}, {"\xA9", "\xC3", "z\xFF"}).all == "a\xC3\xA9z");
  CHECK(run({"a\xC3", "\xA9z"}, {"\xC3\xA9"}).all == "a");
}

TEST_CASE("Detokenizer_DropsTheFirstSpaceWhereAskedTo") {
  CHECK(run({" a", " b"}, {}, true).all == "a b");
  CHECK(run({"", "  a"}, {}, true).all == " a");
  CHECK(run({" a"}, {}, false).all == " a");
}

TEST_CASE("Detokenizer_GivesTheTextUpToTheFirstStopForRandomSplits", "[T-36]") {
  std::mt19937 random(3);
  for (int round = 0; round < 3000; ++round) {
    std::string text;
    for (int i = 0; i < 24; ++i) text += "ab\xC3\xA9"[random() % 2 ? random() % 2 : random() % 2];
    const std::vector<std::string> stops = {"abab", "bba", "aaaa"};
    size_t cut = text.size();
    for (const std::string& stop : stops) cut = std::min(cut, text.find(stop));
    std::vector<std::string> pieces;
    for (size_t i = 0; i < text.size();) {
      const size_t n = 1 + random() % 5;
      pieces.push_back(text.substr(i, n));
      i += n;
    }
    const Result result = run(pieces, stops);
    // A later token may complete an earlier-starting stop; what is out by then stays out, so
    // compare up to the first stop met.
    size_t first_end = std::string::npos;
    for (const std::string& stop : stops) {
      const size_t at = text.find(stop);
      if (at != std::string::npos) first_end = std::min(first_end, at + stop.size());
    }
    CHECK(result.stopped == (first_end != std::string::npos));
    CHECK(text.starts_with(result.all));
    if (!result.stopped) CHECK(result.all == text);
    if (result.stopped) CHECK(result.all.size() >= cut);
    for (const std::string& stop : stops) CHECK(result.all.find(stop) == std::string::npos);
  }
}

}  // namespace
}  // namespace olx::engine
