#include "engine/grammar/gbnf.h"

#include "tests/engine/grammar/grammar_support.h"
#include "tests/support/catch.h"

using namespace olx::engine;
using namespace olx::tests;

TEST_CASE("Gbnf_MatchesWhatItSays") {
  struct Row {
    const char* grammar;
    std::vector<std::string> yes, no;
  };
  const Row rows[] = {
      {R"(root ::= "yes" | "no")", {"yes", "no"}, {"", "y", "yesno", "Yes"}},
      {R"(root ::= "a"* "b"+ "c"?)", {"b", "aab", "abbbc"}, {"", "a", "acc", "bcc"}},
      {R"(root ::= ("a" | "b"){2,3})", {"ab", "bba"}, {"a", "abab"}},
      {R"(root ::= "a"{3})", {"aaa"}, {"aa", "aaaa"}},
      {R"(root ::= "a"{2,})", {"aa", "aaaaaaa"}, {"a", ""}},
      {R"(root ::= "ab"{0,1} "c")", {"abc", "c"}, {"bc", "ababc"}},
      {R"(root ::= [a-cx] [^0-9\n])", {"ax", "c\xC3\xA9", "x\xF0\x9F\x98\x80"}, {"d!", "a7", "a\n", "a\xC3"}},
      {R"(root ::= [\x41-\x43] [\u00e9] [\U0001F600-\U0001F64F] [\]\-\\^])", {"A\xC3\xA9\xF0\x9F\x98\x80]", "C\xC3\xA9\xF0\x9F\x99\x8F-"}, {"D\xC3\xA9\xF0\x9F\x98\x80]", "A\xC3\xA8\xF0\x9F\x98\x80]"}},
      {R"(root ::= . .)", {"ab", "\n\xE2\x82\xAC"}, {"a", "abc", "\xE2\x82", "\xED\xA0\x80z", "\xC0\x80z", "\xFFz"}},
      {R"(root ::= "\x22\t\\\"\u20AC")", {"\"\t\\\"\xE2\x82\xAC"}, {"\"\t\\\""}},
      {"root ::= item (\n  \",\"   # between\n  item\n)*\nitem ::= [0-9]+\n", {"1", "12,3,4"}, {"", ",", "1,", "1,,2"}},
      {"# a comment first\n\nroot ::=\n  \"a\" |\n  \"b\"\n  | \"c\"\n", {"a", "b", "c"}, {"d"}},
      {"root ::= \"(\" root \")\" | \"x\"", {"x", "(x)", "(((x)))"}, {"", "()", "((x)"}},
      {"root ::= a b\na ::= \"x\" a | \"\"\nb ::= \"y\" b?", {"y", "xxyy"}, {"x", "xx", "yx"}},
      {R"(root ::= ("a"? "b"?)* "c")", {"c", "abc", "bac", "ababababc"}, {"", "ab"}},
      {R"(root ::= (("a"?){3,5} "b"){2})", {"bb", "aaaaabab"}, {"aaaaaab", "b", "bbb"}},
      {R"(root ::= "")", {""}, {"a"}},
      {R"(expr-1 ::= root root ::= "a")", {}, {}},
  };
  for (const Row& row : rows) {
    INFO(row.grammar);
    if (row.yes.empty()) {
      CHECK(refusal(gbnf(row.grammar)) != "");
      continue;
    }
    Matcher matcher(compile_constraint(gbnf(row.grammar)));
    for (const std::string& text : row.yes) {
      INFO(text);
      CHECK(matches(matcher, text));
    }
    for (const std::string& text : row.no) {
      INFO(text);
      CHECK_FALSE(matches(matcher, text));
    }
  }
}

TEST_CASE("Gbnf_SaysWhatIsWrongAndWhere") {
  struct Row {
    const char *grammar, *says;
  };
  const Row rows[] = {
      {"", "'root' is not defined"},
      {"root = \"a\"", "line 1: expected '::='"},
      {"root ::= \"a\"\n\nx ::= \"b", "line 3: the line ends inside quotes"},
      {"root ::= [a-", "line 1: the line ends inside"},
      {"root ::= [z-a]", "runs backwards"},
      {"root ::= \"a\" )", "')' without '('"},
      {"root ::= ( \"a\"", "expected ')'"},
      {"root ::= * \"a\"", "nothing before it"},
      {"root ::= \"a\"{3,2}", "from 3 to 2 times"},
      {"root ::= \"a\"{x}", "expected a number"},
      {"root ::= \"a\"{1", "expected '}'"},
      {"root ::= \"\\q\"", "'\\q' is not known"},
      {"root ::= \"\\ud800\"", "is no character"},
      {"root ::= \"\\x4\"", "2 hexadecimal digits"},
      {"root ::= \"\xFF\"", "not UTF-8"},
      {"root ::= a", "the rule 'a' is not defined"},
      {"root ::= \"a\"\nroot ::= \"b\"", "'root' is defined twice"},
      {"root ::= <think>", "not supported"},
      {"root ::= \"a\" = ", "got '='"},
      {"::= \"a\"", "expected a rule's name"},
  };
  for (const Row& row : rows) {
    const std::string said = refusal(gbnf(row.grammar));
    INFO(row.grammar << " -> " << said);
    CHECK(said.find(row.says) != std::string::npos);
  }
}

TEST_CASE("Gbnf_HasLimitsAndTakesWhatIsAtThem") {
  const auto refused = [](const std::string& text, const std::string& says) {
    const std::string said = refusal(gbnf(text));
    INFO(said);
    CHECK(said.find(says) != std::string::npos);
  };
  // Bytes.
  const std::string rule = "root ::= \"a\"\n";
  std::string text = rule + "#" + std::string((256 << 10) - rule.size() - 1, 'x');
  CHECK(refusal(gbnf(text)) == "");
  refused(text + "x", "262144 bytes");
  // Depth of parentheses.
  const auto nested = [](int n) { return "root ::= " + std::string(static_cast<size_t>(n), '(') + "\"a\"" + std::string(static_cast<size_t>(n), ')'); };
  CHECK(refusal(gbnf(nested(64))) == "");
  refused(nested(65), "deeper than 64");
  refused(nested(100'000), "deeper than 64");
  // Rules: each is as short as can be.
  const auto many = [](int n) {
    std::string out = "root ::= [a]\n";
    for (int i = 1; i < n; ++i) out += std::to_string(i) + "::=[a]\n";
    return out;
  };
  CHECK(refusal(gbnf(many(20'000))) == "");
  refused(many(20'001), "more than 20000");
  // Repetitions, alone and inside one another (T-25).
  CHECK(refusal(gbnf("root ::= \"a\"{2000}")) == "");
  refused("root ::= \"a\"{2001}", "at most 2000, got 2001");
  refused("root ::= \"a\"{1,2001}", "at most 2000");
  refused("root ::= \"a\"{99999999999999999999}", "at most 2000");
  CHECK(refusal(gbnf("root ::= (\"a\"{1,1000}){100}")) == "");
  refused("root ::= (\"a\"{1,1000}){101}", "at most 100000, got 101000");
  refused("root ::= \"a\"{1,2000}{1,2000}", "at most 100000");
  refused("root ::= ((((\"a\"{1,100}) | \"b\"){1,100})* \"c\"){1,100}", "at most 100000");
  // Time.
  GrammarLimits hurried;
  hurried.max_compile_ns = 1;
  CHECK(refusal(gbnf(many(20'000)), hurried).find("takes too long to compile") != std::string::npos);
}
