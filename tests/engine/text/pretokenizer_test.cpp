// The scanners against Hugging Face's regular expression engine: golden/pretokenize.json holds
// where it cut.
#include "engine/text/pretokenize/pretokenizer.h"

#include <boost/json.hpp>
#include <fstream>
#include <iterator>

#include "tests/support/catch.h"
#include "tests/support/test_paths.h"

namespace olx::engine {
namespace {

namespace json = boost::json;

TEST_CASE("PreTokenizers_CutWhereTheRegularExpressionsDo") {
  std::ifstream in(tests::source_dir() / "tests/golden/pretokenize.json", std::ios::binary);
  const json::value golden = json::parse(std::string(std::istreambuf_iterator<char>(in), {}));
  std::vector<size_t> ends, scratch;
  for (const auto& [rule, expected] : golden.at("ends").as_object()) {
    const PreTokenizer* pre = find_pretokenizer(rule);
    INFO(std::string(rule));
    REQUIRE(pre != nullptr);
    for (size_t i = 0; i < expected.as_array().size(); ++i) {
      const json::value& text = golden.at("texts").at(i);
      ClassifiedText chars;
      classify(std::string_view(text.as_string()), chars);
      split_words(*pre, chars, ends, scratch);
      INFO(json::serialize(text));
      CHECK(ends == json::value_to<std::vector<size_t>>(expected.at(i)));
    }
  }
}

TEST_CASE("Unicode_ReadsWellFormedUtf8Only") {
  for (const char* bad :
       {"\x80", "\xC0\x80", "\xC1\xBF", "\xE0\x80\x80", "\xED\xA0\x80", "\xED\xBF\xBF",
        "\xF0\x80\x80\x80", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xFF", "\xC3", "\xE4\xB8"}) {
    const Utf8Char c = decode_utf8(bad, 0);
    CHECK_FALSE(c.valid);
    CHECK(c.n_bytes == 1);
  }
  for (uint32_t code = 0; code < 0x110000; ++code) {
    if (code >= 0xD800 && code < 0xE000) continue;
    std::string text;
    append_utf8(text, code);
    const Utf8Char c = decode_utf8(text, 0);
    if (!c.valid || c.code != code || c.n_bytes != text.size()) FAIL("U+" << std::hex << code);
    for (size_t n = 1; n < text.size(); ++n) {
      if (incomplete_utf8(std::string_view(text).substr(0, n), 0) != n)
        FAIL("U+" << std::hex << code << " cut");
    }
  }
}

TEST_CASE("Unicode_DecomposesInCanonicalOrder") {
  std::vector<uint32_t> codes = {0xC5, 0x1E69, 0xAC01, 'a', 0x301, 0x323};
  decompose(codes);
  CHECK(codes == std::vector<uint32_t>{'A', 0x30A, 's', 0x323, 0x307, 0x1100, 0x1161, 0x11A8, 'a',
                                       0x323, 0x301});
}

}  // namespace
}  // namespace olx::engine
