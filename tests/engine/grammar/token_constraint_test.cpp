#include "engine/grammar/token_constraint.h"

#include <cmath>
#include <set>

#include "engine/sample/rng.h"
#include "tests/engine/grammar/grammar_support.h"
#include "tests/support/catch.h"

using namespace olx::engine;
using namespace olx::tests;

namespace {

struct Constrained {
  Constrained(const OutputConstraint& wanted, ListedTokens vocabulary) : tokens(std::move(vocabulary)), trie(tokens), constraint(compile_constraint(wanted), trie, tokens) {}

  // The tokens that the mask leaves.
  std::set<int32_t> allowed() {
    std::vector<float> logits(static_cast<size_t>(tokens.vocab_size()), 0);
    std::set<int32_t> ids;
    if (!constraint.mask(logits)) return ids;
    for (int32_t id = 0; id < tokens.vocab_size(); ++id)
      if (logits[static_cast<size_t>(id)] == 0) ids.insert(id);
    return ids;
  }
  std::string texts(const std::set<int32_t>& ids) const {
    std::string out;
    for (int32_t id : ids) (out += out.empty() ? "" : " ") += tokens.text(id);
    return out;
  }

  ListedTokens tokens;
  TokenTrie trie;
  TokenConstraint constraint;
};

}  // namespace

TEST_CASE("TokenConstraint_MasksAllButWhatMayFollow") {
  Constrained c(gbnf("root ::= \"ab\" [0-9]{1,3} | \"abc\""), ListedTokens({"a", "ab", "abc", "abcd", "ab1", "b", "b12", "1", "12", "1234", ""}));
  CHECK(c.texts(c.allowed()) == "a ab abc ab1");
  c.constraint.accept(0);
  CHECK(c.texts(c.allowed()) == "b b12");
  c.constraint.accept(6);
  CHECK(c.texts(c.allowed()) == "1 </s>");  // ab12 is whole, one digit may follow
  CHECK_FALSE(c.constraint.is_complete());
  c.constraint.accept(7);
  CHECK(c.constraint.is_complete());
  CHECK(c.texts(c.allowed()) == "</s>");
}

TEST_CASE("TokenConstraint_TheMaskAndTheSingleTestAgree") {
  std::vector<std::string> more{"\"", "\": ", "{\"", "\"}", "true", "tru", "e}", "12", "-1", ".5", "e9", "\xC3", "\xA9\"", "\\u00", "\\n", "\n  ", "  ", "],", "[[", "}]}", "null,"};
  Constrained c(schema(R"({"type":"object","properties":{"a":{"type":"string","maxLength":3},"b":{},"c":{"type":"number","minimum":-2.5,"maximum":17}},"additionalProperties":true})"),
                ListedTokens::with_bytes(more));
  Rng rng(7);
  for (int step = 0; step < 300 && !c.constraint.is_complete(); ++step) {
    const std::set<int32_t> allowed = c.allowed();
    for (int32_t id = 0; id < c.tokens.vocab_size(); ++id) REQUIRE(c.constraint.allows(id) == allowed.contains(id));
    std::vector<int32_t> choices(allowed.begin(), allowed.end());
    const int32_t next = choices[rng.next() % choices.size()];
    if (next == c.tokens.end()) break;
    c.constraint.accept(next);
  }
}

// However an answer is cut into tokens, also inside characters, each of them is allowed in turn.
TEST_CASE("TokenConstraint_AllowsEverySplitOfAnAnswer") {
  const std::string answer = "{\"n\": \"\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80\"}";
  std::set<std::string> parts;
  for (size_t from = 0; from < answer.size(); ++from)
    for (size_t n = 1; from + n <= answer.size(); ++n) parts.insert(answer.substr(from, n));
  Constrained c(schema(R"({"type":"object","properties":{"n":{"type":"string","minLength":3,"maxLength":3}},"required":["n"]})"),
                ListedTokens({parts.begin(), parts.end()}));
  Rng rng(3);
  for (int run = 0; run < 300; ++run) {
    TokenConstraint constraint(compile_constraint(schema(R"({"properties":{"n":{"type":"string","minLength":3,"maxLength":3}},"required":["n"]})")), c.trie, c.tokens);
    for (size_t pos = 0; pos < answer.size();) {
      const size_t n = 1 + rng.next() % std::min<size_t>(answer.size() - pos, run < 150 ? 3 : answer.size());
      const int32_t id = *c.tokens.find(answer.substr(pos, n));
      REQUIRE(constraint.allows(id));
      constraint.accept(id);
      pos += n;
      REQUIRE(constraint.is_complete() == (pos == answer.size()));
    }
  }
}

TEST_CASE("TokenConstraint_ControlTokensAreTextOnlyWhereTheyAreMarks") {
  const OutputConstraint wanted = gbnf("root ::= \"<mark>\" [ab]* | \"a\"");
  Constrained plain(wanted, ListedTokens::with_bytes());
  CHECK_FALSE(plain.constraint.allows(plain.tokens.mark()));
  CHECK(plain.texts(plain.allowed()) == "< a");
  Constrained marked(wanted, ListedTokens::with_bytes());
  const int32_t marks[] = {marked.tokens.mark(), marked.tokens.end()};
  marked.constraint.set_marks(marks);
  CHECK(marked.texts(marked.allowed()) == "< a <mark>");
  CHECK_FALSE(marked.constraint.allows(marked.tokens.end()));  // as the end it may come where the grammar ends
  marked.constraint.accept(marked.tokens.mark());
  CHECK(marked.texts(marked.allowed()) == "a b </s>");
}

TEST_CASE("TokenConstraint_AFreePartInFrontIsFree") {
  OutputConstraint wanted = schema(R"({"enum":[1,2]})");
  wanted.free_open = "<t>";
  wanted.free_close = "aab";
  const auto run = [&](const OutputConstraint& constraint, std::string_view text) {
    Constrained c(constraint, ListedTokens::with_bytes());
    for (char byte : text) {
      if (!c.constraint.allows(static_cast<uint8_t>(byte))) return std::string("refused");
      c.constraint.accept(static_cast<uint8_t>(byte));
    }
    if (c.constraint.is_complete()) return std::string("whole");
    return std::string(c.constraint.allows(c.tokens.end()) ? "may end" : "open");
  };
  CHECK(run(wanted, "1") == "whole");
  CHECK(run(wanted, "<t>anything \xFF{\"] aaaab1") == "whole");
  CHECK(run(wanted, "<t>aaab \n\t2") == "whole");
  CHECK(run(wanted, "<t>aaab aab2") == "refused");
  CHECK(run(wanted, "<t>aa") == "open");
  CHECK(run(wanted, "<t>aab") == "open");
  CHECK(run(wanted, "x") == "refused");
  CHECK(run(wanted, "aab1") == "refused");
  wanted.begins_free = true;
  CHECK(run(wanted, "1") == "open");
  CHECK(run(wanted, "1aabaa") == "refused");
  CHECK(run(wanted, "hm aab1") == "whole");
  wanted.free_close = "";
  CHECK(refusal(wanted).find("needs a text that ends it") != std::string::npos);
}

TEST_CASE("TokenConstraint_RefusesAGrammarTooAmbiguousToBegin") {
  const ListedTokens tokens({"a"});
  const TokenTrie trie(tokens);
  std::string text = "root ::= \"a0\"";
  for (int i = 1; i < 4096; ++i) text += " | \"a" + std::to_string(i) + "\"";
  CHECK_NOTHROW(TokenConstraint(compile_constraint(gbnf(text)), trie, tokens));
  text += " | \"a4096\"";
  CHECK_THROWS_AS(TokenConstraint(compile_constraint(gbnf(text)), trie, tokens), EngineError);
}

// T-29: a vocabulary that cannot spell what is asked leaves nothing, and says so.
TEST_CASE("TokenConstraint_T29_NothingAllowedIsSeen") {
  Constrained c(gbnf("root ::= \"ax\""), ListedTokens({"a", "b"}));
  c.constraint.accept(0);
  std::vector<float> logits(4, 1.5f);
  CHECK_FALSE(c.constraint.mask(logits));
  CHECK(logits == std::vector<float>(4, 1.5f));
  CHECK(std::string(c.constraint.dead_end()).find("no token") != std::string::npos);
}
