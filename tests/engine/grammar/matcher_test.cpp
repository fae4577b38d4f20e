#include "engine/grammar/matcher.h"

#include <pthread.h>

#include "tests/engine/grammar/grammar_support.h"
#include "tests/support/catch.h"
#include "tests/support/sanitizers.h"

using namespace olx::engine;
using namespace olx::tests;

namespace {

// Sanitizers' guards around every variable take their part.
constexpr size_t kSmallStack = (kHasSanitizers ? 512 : 64) << 10;

// Runs a function with that stack: what recurses by the input does not come back.
void with_small_stack(void (*function)()) {
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, kSmallStack);
  pthread_t thread;
  REQUIRE(pthread_create(&thread, &attributes,
                         [](void* raw) -> void* {
                           reinterpret_cast<void (*)()>(raw)();
                           return nullptr;
                         },
                         reinterpret_cast<void*>(function)) == 0);
  pthread_join(thread, nullptr);
  pthread_attr_destroy(&attributes);
}

std::shared_ptr<const Network> shared_network;
size_t n_matched = 0;

}  // namespace

// T-25, llama.cpp #18988: nested quantifiers and deep nesting cost no stack and no time to speak of.
TEST_CASE("Matcher_T25_NestedQuantifiersNeedNoStack") {
  for (const char* grammar : {"root ::= ((\"a\"*)*)*", "root ::= ((\"a\"+)+)+ \"b\"?", "root ::= ((\"a\"?)*)+", "root ::= (\"a\"?){2000}",
                              "root ::= ((\"a\"?){1,50}){1,2000}", "root ::= (\"a\" | \"aa\" | \"aaa\"){1,2000}",
                              "root ::= \"a\" root | \"\"", "root ::= (\"a\"{1,2000})*"}) {
    INFO(grammar);
    shared_network = compile_constraint(gbnf(grammar));
    n_matched = 0;
    with_small_stack([] {
      Matcher matcher(shared_network);
      Matcher::State state = matcher.start();
      for (int i = 0; i < 1500; ++i) {
        matcher.begin_token(state);
        state = matcher.next(state, 'a');
        n_matched += state != Matcher::kDead;
      }
    });
    CHECK(n_matched == 1500);
  }
}

TEST_CASE("Matcher_FollowsDeepNestingWithoutRecursion") {
  shared_network = compile_constraint(gbnf("root ::= \"(\" root \")\" | \"x\""));
  n_matched = 0;
  with_small_stack([] {
    Matcher matcher(shared_network);
    n_matched = matches(matcher, std::string(50'000, '(') + "x" + std::string(50'000, ')'));
    n_matched += matches(matcher, std::string(50'000, '(') + "x" + std::string(49'999, ')'));
  });
  CHECK(n_matched == 1);
}

TEST_CASE("Matcher_RefusesLeftRecursionWithTheRulesName") {
  for (const char* grammar : {"root ::= list\nlist ::= list \",\" \"a\" | \"a\"", "root ::= list\nlist ::= (\"x\"? | \"\") list \"a\" | \"a\"",
                              "root ::= list\nlist ::= other \"a\" | \"b\"\nother ::= \"\" list \"c\"",
                              "root ::= list\nlist ::= (list \"a\"){0,3} \"b\""}) {
    INFO(grammar);
    const std::string said = refusal(gbnf(grammar));
    INFO(said);
    CHECK(said.find("left recursion") != std::string::npos);
  }
  CHECK(refusal(gbnf("root ::= \"a\" root \"b\" | \"\"")) == "");
}

// T-29: what matches nothing is refused before it runs.
TEST_CASE("Matcher_T29_GrammarsThatMatchNothingAreRefused") {
  std::vector<std::string> grammars{"root ::= root", "root ::= \"a\" root", "root ::= x\nx ::= \"a\" y\ny ::= x", "root ::= []", "root ::= \"a\" [] \"b\"",
                                    "root ::= ([] | \"a\" []){2,3}", "root ::= [^\\U00000000-\\U0010FFFF]", "root ::= \"a\" (root | []) "};
  for (int n = 1; n <= 42; ++n) {  // chains of rules that come back to where they began
    std::string text = "root ::= r0\n";
    for (int i = 0; i < n; ++i) text += "r" + std::to_string(i) + " ::= \"" + std::string(1, static_cast<char>('a' + i % 26)) + "\" r" + std::to_string((i + 1) % n) + "\n";
    grammars.push_back(text);
  }
  REQUIRE(grammars.size() == 50);
  for (const std::string& grammar : grammars) {
    const std::string said = refusal(gbnf(grammar));
    INFO(grammar << " -> " << said);
    CHECK((said.find("matches no text") != std::string::npos || said.find("left recursion") != std::string::npos));
  }
  // A way that never ends is not taken where there is another.
  Matcher matcher(compile_constraint(gbnf("root ::= \"a\" (\"b\" x | \"c\")\nx ::= \"d\" x")));
  CHECK(matches(matcher, "ac"));
  Matcher::State state = matcher.next(matcher.start(), 'a');
  CHECK(matcher.next(state, 'b') == Matcher::kDead);
}

TEST_CASE("Matcher_CapsStacksAndWorkAndSaysSo") {
  // Every letter may belong to any of thousands of repetitions that count differently.
  const auto network = compile_constraint(gbnf("root ::= (\"a\"{1,50}){1,2000} \"b\""));
  MatcherLimits limits;
  limits.max_stacks = 64;
  Matcher matcher(network, limits);
  Matcher::State state = matcher.start();
  int n = 0;
  for (; n < 500 && state != Matcher::kDead; ++n) {
    matcher.begin_token(state);
    state = matcher.next(state, 'a');
  }
  CHECK(n > 3);
  CHECK(n < 500);
  CHECK(matcher.was_cut());
  limits = {};
  limits.max_work = 100;
  Matcher busy(network, limits);
  state = busy.start();
  for (n = 0; n < 500 && state != Matcher::kDead; ++n) state = busy.next(state, 'a');
  CHECK(busy.was_cut());
  busy.begin_token(state = busy.start());
  CHECK_FALSE(busy.was_cut());
}

TEST_CASE("Matcher_MemoryStaysBoundedInLongAnswers") {
  MatcherLimits limits;
  limits.max_table_bytes = 64 << 10;
  Matcher matcher(compile_constraint(gbnf("root ::= \"[\" ([a-z]{0,2000} \",\"){0,50} root? \"]\"")), limits);
  Matcher::State state = matcher.next(matcher.start(), '[');
  size_t most = 0;
  int n_forgotten = 0;
  for (int i = 0; i < 20'000; ++i) {
    n_forgotten += matcher.begin_token(state);
    state = matcher.next(state, i % 1000 == 999 ? ',' : static_cast<uint8_t>('a' + i % 26));
    REQUIRE(state != Matcher::kDead);
    most = std::max(most, matcher.n_states());
  }
  CHECK(n_forgotten > 5);
  CHECK(most < 1000);
  // What is remembered of the text survives: after 20 lists 30 more may come.
  for (int i = 0; i < 30; ++i) REQUIRE((state = matcher.next(state, ',')) != Matcher::kDead);
  CHECK(matcher.next(state, ',') == Matcher::kDead);
  CHECK(matcher.may_end(matcher.next(state, ']')));
}
