// Masks over the vocabularies of real models: each agrees with the test of every single token. What they cost is printed, in
// the thread's own time, and not judged: a test is no place for speed.

#include <time.h>

#include <algorithm>
#include <cmath>

#include "engine/sample/rng.h"
#include "tests/engine/grammar/grammar_support.h"
#include "tests/support/catch.h"
#include "tests/support/test_paths.h"

using namespace olx::engine;
using namespace olx::tests;

namespace {

double thread_us() {
  timespec now{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e6 + static_cast<double>(now.tv_nsec) * 1e-3;
}

struct Cost {
  double first_us = 0, median_us = 0, worst_us = 0, test_us = 0;
};

// A walk of at most 200 tokens with a mask at each, as if the model never hit upon an allowed one by itself. Now and then
// all tokens are tried one by one; not where limits cut the work off, for then the order matters.
Cost walk(const OutputConstraint& wanted, const TokenTrie& trie, const Tokenizer& tokenizer, bool is_compared) {
  TokenConstraint constraint(compile_constraint(wanted), trie, tokenizer);
  Rng rng(11);
  std::vector<double> masks;
  double tests = 0;
  std::vector<float> logits(static_cast<size_t>(tokenizer.vocab_size()));
  for (int step = 0; step < 200 && !constraint.is_complete(); ++step) {
    std::fill(logits.begin(), logits.end(), 0.0f);
    double begun = thread_us();
    const bool goes_on = constraint.mask(logits);
    masks.push_back(thread_us() - begun);
    if (!goes_on) {  // only where a limit was met
      CHECK(std::string_view(constraint.dead_end()).find("too ambiguous") != std::string_view::npos);
      break;
    }
    if (is_compared && step % 32 == 0) {
      size_t n_different = 0;
      for (size_t i = 0; i < logits.size(); ++i) n_different += constraint.allows(static_cast<int32_t>(i)) != (logits[i] == 0) ? 1 : 0;
      CHECK(n_different == 0);
    }
    std::vector<int32_t> allowed;
    for (size_t i = 0; i < logits.size(); ++i)
      if (logits[i] == 0 && !tokenizer.is_end_of_generation(static_cast<int32_t>(i))) allowed.push_back(static_cast<int32_t>(i));
    if (allowed.empty()) break;
    const int32_t token = allowed[rng.next() % allowed.size()];
    begun = thread_us();
    REQUIRE(constraint.allows(token));
    constraint.accept(token);
    tests += thread_us() - begun;
  }
  Cost cost{masks[0], 0, *std::max_element(masks.begin(), masks.end()), tests / static_cast<double>(masks.size())};
  std::nth_element(masks.begin(), masks.begin() + static_cast<ptrdiff_t>(masks.size() / 2), masks.end());
  cost.median_us = masks[masks.size() / 2];
  return cost;
}

void check_masks(const char* file) {
  const auto path = models_dir() / file;
  if (!have(path)) return;
  const auto tokenizer = make_tokenizer(olx::gguf::GgufFile::open(path.string()));
  double begun = thread_us();
  const TokenTrie trie(*tokenizer);
  std::printf("%s: %d tokens, a trie of %zu nodes in %.0f ms\n", file, trie.vocab_size(), trie.nodes().size() - 1, (thread_us() - begun) / 1000);
  const std::pair<const char*, OutputConstraint> rows[] = {
      {"any object", schema(R"({"type":"object"})")},
      {"text", schema(R"({"type":"string","minLength":300})")},
      {"bounded text", schema(R"({"type":"string","minLength":100,"maxLength":900})")},
      {"typed object", schema(R"({"type":"object","properties":{"name":{"type":"string","minLength":40,"maxLength":60},"age":{"type":"integer","minimum":0,"maximum":130},"mail":{"format":"email"},"born":{"format":"date"},"tags":{"items":{"enum":["a","b","c"]},"minItems":9,"maxItems":20}},"required":["name","age","mail","born","tags"]})")},
      {"pattern", schema(R"({"type":"string","pattern":"^([A-Za-z]+ ){10,40}\\d+(\\.\\d+)?$"})")},
      {"ambiguous", gbnf("root ::= ([a-z ]{1,40} [a-z ]{1,40} [a-z ]{1,40}){1,9} | ([a-z]{1,5} \" \"?){1,500}")},
      {"hostile", gbnf("root ::= a{1,100}\na ::= ([^x]{1,30}){1,30} | ([^y]{1,31}){1,31} | b b b b\nb ::= [^z]{1,2000} [^z]{1,2000}")},
      {"gbnf", gbnf("root ::= line{20,40}\nline ::= [^\\n]+ \"\\n\"")},
  };
  for (const auto& [name, wanted] : rows) {
    begun = thread_us();
    (void)compile_constraint(wanted);
    const double compile_us = thread_us() - begun;
    const bool is_hard = std::string_view(name) == "ambiguous" || std::string_view(name) == "hostile";
    const Cost cost = walk(wanted, trie, *tokenizer, !is_hard);
    std::printf("  %-13s compile %6.0f us, mask: first %6.0f us, median %6.0f us, worst %6.0f us; single test %5.2f us\n", name, compile_us,
                cost.first_us, cost.median_us, cost.worst_us, cost.test_us);
  }
}

}  // namespace

TEST_CASE("Mask_AgreesWithTheTestOfEachTokenOnSmolLM2") { check_masks("SmolLM2-135M-Instruct.Q4_1.gguf"); }
TEST_CASE("Mask_AgreesWithTheTestOfEachTokenOnGemma3") { check_masks("gemma-3-270m-q4_k_m.gguf"); }
