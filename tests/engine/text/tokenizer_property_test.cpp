// What holds for every vocabulary and every text: round trips, agreement with slow and obvious
// merging, linear time.
#include <pthread.h>

#include <chrono>
#include <map>
#include <random>

#include "engine/text/pretokenize/pretokenizer.h"
#include "tests/engine/text/vocabulary_file.h"
#include "tests/support/catch.h"

namespace olx::engine {
namespace {

using tests::VocabularyFile;
using Ids = std::vector<int32_t>;

constexpr const char* kRules[] = {
    "default",        "gpt-2",       "starcoder",    "falcon",    "llama-bpe", "qwen2", "qwen35",
    "minicpm5",       "ufakzeka",    "seed-coder",   "tekken",    "gpt-4o",    "bloom", "viking",
    "deepseek-coder", "deepseek-v3", "deepseek-llm", "command-r", "refact",    "mpt",   "smollm"};

VocabularyFile english_bpe(const char* rule) {
  VocabularyFile file;
  file.model = "gpt2";
  file.pre = rule;
  file.add_byte_alphabet();
  // Runs that merge pairwise (a, aa, aaaa ...) and a few words.
  for (const std::string unit : {"a", "Z", "\xC4\xA0", "\xC4\x8A", "7"}) {
    std::string run = unit;
    for (int i = 0; i < 4; ++i) {
      file.merges.push_back(run + " " + run);
      run += run;
      file.add(run);
    }
  }
  for (const char* merge : {"t h", "th e", "\xC4\xA0 the", "h e", "i n"}) {
    file.merges.push_back(merge);
    std::string joined = merge;
    joined.erase(joined.find(' '), 1);
    file.add(joined);
  }
  return file;
}

TEST_CASE("Bpe_DecodesToTheBytesItEncodedUnderEveryRule", "[T-32]") {
  std::mt19937 random(11);
  const std::vector<std::string> bits = {"the ",     "in",           "aaaa",
                                         " ",        "  ",           "\n",
                                         "\r\n",     "\t",           "'s",
                                         "'LL",      "12345",        "\xE4\xB8\xAD",
                                         "\xC3\xA9", "e\xCC\x81",    "\xF0\x9F\x98\x80",
                                         "\xFF",     "\xED\xA0\x80", "\xF0\x9F",
                                         "Ab",       "ZZ",           "\xE3\x80\x80",
                                         "!?",       "$+",           std::string(1, '\0')};
  for (const char* rule : kRules) {
    const auto tokenizer = english_bpe(rule).open();
    for (int round = 0; round < 600; ++round) {
      std::string text;
      const size_t n = random() % 12;
      for (size_t i = 0; i < n; ++i) {
        text += round % 2 ? bits[random() % bits.size()]
                          : std::string(1, static_cast<char>(random() & 0xFF));
      }
      INFO(rule);
      const Ids ids = tokenizer->encode(text, {});
      REQUIRE(tokenizer->decode(ids) == text);
    }
  }
}

TEST_CASE("PreTokenizers_CutEveryTextCompletelyAndInOrder") {
  std::mt19937 random(12);
  std::vector<size_t> ends, scratch;
  for (const char* rule : kRules) {
    const PreTokenizer* pre = find_pretokenizer(rule);
    REQUIRE(pre != nullptr);
    for (int round = 0; round < 2000; ++round) {
      std::string text;
      const size_t n = random() % 20;
      for (size_t i = 0; i < n; ++i) append_utf8(text, random() % (random() % 2 ? 0x80 : 0x3100));
      ClassifiedText chars;
      classify(text, chars);
      split_words(*pre, chars, ends, scratch);
      size_t last = 0;
      for (const size_t end : ends) {
        REQUIRE(end > last);
        last = end;
      }
      REQUIRE(last == chars.size());
    }
  }
}

// The definition: of all neighbouring pairs that are tokens, join the one of the best score, the
// leftmost of several.
Ids slow_spm(const std::map<std::string, std::pair<int32_t, float>>& tokens,
             std::vector<std::string> symbols) {
  for (;;) {
    size_t best = symbols.size();
    float best_score = 0;
    for (size_t i = 0; i + 1 < symbols.size(); ++i) {
      const auto found = tokens.find(symbols[i] + symbols[i + 1]);
      if (found == tokens.end() || (best != symbols.size() && found->second.second <= best_score))
        continue;
      best = i;
      best_score = found->second.second;
    }
    if (best == symbols.size()) break;
    symbols[best] += symbols[best + 1];
    symbols.erase(symbols.begin() + static_cast<ptrdiff_t>(best) + 1);
  }
  Ids ids;
  for (const std::string& symbol : symbols) ids.push_back(tokens.at(symbol).first);
  return ids;
}

TEST_CASE("Spm_MergesAsTheSlowDefinitionDoes") {
  std::mt19937 random(13);
  const std::string mark = "\xE2\x96\x81";
  for (int round = 0; round < 60; ++round) {
    VocabularyFile file;
    file.writer->set_bool("tokenizer.ggml.add_space_prefix", false);
    file.writer->set_bool("tokenizer.ggml.add_bos_token", false);
    std::map<std::string, std::pair<int32_t, float>> tokens;
    const std::vector<std::string> letters = {"a", "b", "c", mark};
    const auto add = [&](const std::string& text) {
      if (tokens.contains(text)) return;
      const float score = static_cast<float>(static_cast<int>(random() % 9) - 6);
      tokens[text] = {file.add(text, TokenKind::kNormal, score), score};
    };
    for (const std::string& letter : letters) add(letter);
    for (int i = 0; i < 30; ++i) {
      std::string text;
      for (size_t n = 2 + random() % 4; n > 0; --n) text += letters[random() % (round % 2 ? 4 : 3)];
      add(random() % 3 ? text : mark + text);
    }
    const auto tokenizer = file.open();
    for (int i = 0; i < 100; ++i) {
      std::string text;
      std::vector<std::string> symbols;
      for (size_t n = random() % 40; n > 0; --n) {
        const size_t letter = random() % 4;
        text += letter == 3 ? " " : letters[letter];
        symbols.push_back(letters[letter]);
      }
      REQUIRE(tokenizer->encode(text, {}) == slow_spm(tokens, symbols));
    }
  }
}

TEST_CASE("Bpe_MergesAsTheSlowDefinitionDoes", "[T-31]") {
  std::mt19937 random(14);
  for (int round = 0; round < 60; ++round) {
    VocabularyFile file;
    file.model = "gpt2";
    file.pre = "gpt-2";
    file.add_byte_alphabet();
    std::vector<std::string> pieces = {"a", "b", "c"};
    std::map<std::string, std::pair<int32_t, float>> tokens;
    for (const char* letter : {"a", "b", "c"}) tokens[letter] = {letter[0], 0.0f};
    std::map<std::pair<std::string, std::string>, int> ranks;
    for (int i = 0; i < 25; ++i) {
      const std::string left = pieces[random() % pieces.size()],
                        right = pieces[random() % pieces.size()];
      if (left.size() + right.size() > 8 || tokens.contains(left + right)) continue;
      pieces.push_back(left + right);
      tokens[left + right] = {file.add(left + right), 0.0f};
      ranks[{left, right}] = static_cast<int>(file.merges.size());
      file.merges.push_back(left + " " + right);
    }
    const auto tokenizer = file.open();
    for (int i = 0; i < 100; ++i) {
      std::string text;
      std::vector<std::string> symbols;
      for (size_t n = random() % 60; n > 0; --n)
        symbols.push_back(pieces[random() % 3]), text += symbols.back();
      Ids expected;
      for (;;) {
        auto best = ranks.end();
        size_t at = 0;
        for (size_t k = 0; k + 1 < symbols.size(); ++k) {
          const auto found = ranks.find({symbols[k], symbols[k + 1]});
          if (found != ranks.end() && (best == ranks.end() || found->second < best->second))
            best = found, at = k;
        }
        if (best == ranks.end()) break;
        symbols[at] += symbols[at + 1];
        symbols.erase(symbols.begin() + static_cast<ptrdiff_t>(at) + 1);
      }
      for (const std::string& symbol : symbols) expected.push_back(tokens.at(symbol).first);
      REQUIRE(tokenizer->encode(text, {}) == expected);
    }
  }
}

// Runs work() on a thread with a stack of 256 KiB: nothing in a tokenizer may recurse with the
// length of a text.
template <class Work>
void run_on_small_stack(Work work) {
  pthread_attr_t attributes;
  REQUIRE(pthread_attr_init(&attributes) == 0);
  REQUIRE(pthread_attr_setstacksize(&attributes, 256 << 10) == 0);
  pthread_t thread;
  const auto entry = [](void* argument) -> void* {
    (*static_cast<Work*>(argument))();
    return nullptr;
  };
  REQUIRE(pthread_create(&thread, &attributes, entry, &work) == 0);
  pthread_join(thread, nullptr);
  pthread_attr_destroy(&attributes);
}

TEST_CASE("Tokenizer_TakesNearlyLinearTimeForLongRuns", "[T-30][T-31]") {
  // Ratios of times are noise on a busy machine; a quadratic step would take minutes here, and this
  // says so.
  constexpr size_t kTextBytes = 256 << 10;
  const std::vector<std::string> units = {
      "a",         "Z",   " ", "7", "\n", "\xE4\xB8\xAD", " \n", "'", "\xFF", "A\xE4\xB8\xAD",
      "e\xCC\x81", "the "};
  const auto check = [&](const Tokenizer& tokenizer, const char* name) {
    for (const std::string& unit : units) {
      std::string text, decoded;
      while (text.size() < kTextBytes) text += unit;
      const auto start = std::chrono::steady_clock::now();
      run_on_small_stack([&] { decoded = tokenizer.decode(tokenizer.encode(text, {})); });
      INFO(name << " unit " << unit);
      CHECK(decoded == text);
      CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(10));
    }
  };
  for (const char* rule :
       {"default", "gpt-2", "llama-bpe", "gpt-4o", "deepseek-llm", "deepseek-v3", "bloom"}) {
    check(*english_bpe(rule).open(), rule);
  }
  VocabularyFile spm;
  spm.add_bytes();
  for (const char* unit : {"a", "\xE2\x96\x81", "Z"}) {
    std::string run = unit;
    for (int i = 0; i < 10; ++i, run += run)
      spm.add(run, TokenKind::kNormal, static_cast<float>(-i));
  }
  check(*spm.open(), "spm");
}

}  // namespace
}  // namespace olx::engine
