// Every vocabulary of the shared golden data, both ways, against ids that independent programs gave
// (golden/README.md says which).
#include <algorithm>
#include <boost/json.hpp>
#include <fstream>
#include <iterator>
#include <sstream>

#include "engine/text/tokenizer.h"
#include "tests/support/catch.h"
#include "tests/support/test_paths.h"

namespace olx::engine {
namespace {

namespace json = boost::json;
using Ids = std::vector<int32_t>;

std::string read_text(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

Ids ids_of(const json::value& value) { return json::value_to<Ids>(value); }

std::string show(const Ids& ids) {
  std::ostringstream out;
  for (const int32_t id : ids) out << id << ' ';
  return out.str();
}

struct Case {
  const char* name;
  std::filesystem::path model;
};

std::vector<Case> cases() {
  const std::filesystem::path vocabularies = tests::shared_dir() / "tokenizers";
  std::vector<Case> out;
  for (const char* name : {"bert-bge", "deepseek-llm", "gpt-2", "llama-bpe", "llama-spm", "phi-3",
                           "qwen2", "starcoder"}) {
    out.push_back({name, vocabularies / (std::string(name) + ".gguf")});
  }
  out.push_back({"smollm2", tests::models_dir() / "SmolLM2-135M-Instruct.Q4_1.gguf"});
  out.push_back({"gemma3", tests::models_dir() / "gemma-3-270m-q4_k_m.gguf"});
  return out;
}

TEST_CASE("Tokenizer_GivesTheGoldenIdsOfEveryVocabulary") {
  const std::filesystem::path golden = tests::shared_dir() / "golden" / "tokenizers";
  if (!tests::have(golden / "texts.json")) return;
  const json::value texts = json::parse(read_text(golden / "texts.json"));
  for (const Case& c : cases()) {
    if (!tests::have(c.model)) continue;
    const auto tokenizer = make_tokenizer(gguf::GgufFile::open(c.model.string()));
    std::ifstream lines(golden / (std::string(c.name) + ".jsonl"));
    std::string line;
    size_t n_compared = 0, n_wrong = 0;
    for (size_t i = 0; std::getline(lines, line); ++i) {
      const json::value expected = json::parse(line);
      const std::string text(texts.at(i).as_string());
      for (const bool special : {false, true}) {
        const json::value& ids = expected.at(special ? 1 : 0);
        if (ids.is_null()) continue;
        ++n_compared;
        const Ids got = tokenizer->encode(text, {.add_special = special, .parse_special = special});
        if (got == ids_of(ids)) continue;
        if (++n_wrong <= 3) {
          INFO(c.name << " text " << i << (special ? " with special tokens" : "") << ": "
                      << json::serialize(texts.at(i)));
          INFO("expected " << show(ids_of(ids)));
          INFO("got      " << show(got));
          CHECK(false);
        }
      }
    }
    INFO(c.name);
    CHECK(n_wrong == 0);
    CHECK(n_compared > 2 * 300);
  }
}

TEST_CASE("Tokenizer_GivesTheIdsOfTheVocabularyCaseFiles") {
  constexpr std::string_view kSeparator = "\n__ggml_vocab_test__\n";
  for (const Case& c : cases()) {
    if (std::string_view(c.name) == "bert-bge")
      continue;  // its file follows llama.cpp, which differs from Hugging Face
    const std::filesystem::path input = std::filesystem::path(c.model).replace_extension(".inp");
    std::error_code ignored;
    if (!std::filesystem::exists(input, ignored)) continue;
    const auto tokenizer = make_tokenizer(gguf::GgufFile::open(c.model.string()));
    const std::string texts = read_text(input);
    std::ifstream lines(std::filesystem::path(c.model).replace_extension(".out"));
    size_t pos = 0, n_compared = 0;
    for (std::string line; std::getline(lines, line); ++n_compared) {
      const size_t end = std::min(texts.find(kSeparator, pos), texts.size());
      const std::string text = texts.substr(pos, end - pos);
      pos = std::min(end + kSeparator.size(), texts.size());
      std::istringstream numbers(line);
      const Ids expected{std::istream_iterator<int32_t>(numbers), {}};
      INFO(c.name << " case " << n_compared << ": " << json::serialize(json::value(text)));
      INFO("expected " << show(expected));
      const Ids got = tokenizer->encode(text, {});
      INFO("got      " << show(got));
      CHECK(got == expected);
    }
    CHECK(n_compared > 40);
  }
}

TEST_CASE("Tokenizer_NeverReadsAControlTokenFromPlainText", "[T-33]") {
  for (const Case& c : cases()) {
    if (!tests::have(c.model)) continue;
    const auto tokenizer = make_tokenizer(gguf::GgufFile::open(c.model.string()));
    for (int32_t id = 0; id < tokenizer->vocab_size(); ++id) {
      if (tokenizer->kind(id) != TokenKind::kControl) continue;
      const std::string text = "a" + std::string(tokenizer->text(id)) + "b";
      INFO(c.name << ": " << text);
      for (const int32_t got : tokenizer->encode(text, {}))
        REQUIRE(tokenizer->kind(got) != TokenKind::kControl);
      const Ids parsed = tokenizer->encode(text, {.parse_special = true});
      REQUIRE(std::count(parsed.begin(), parsed.end(), id) == 1);
    }
  }
}

TEST_CASE("Tokenizer_DecodesWhatItEncodedInEveryVocabulary") {
  const std::filesystem::path golden = tests::shared_dir() / "golden" / "tokenizers";
  if (!tests::have(golden / "texts.json")) return;
  const json::value texts = json::parse(read_text(golden / "texts.json"));
  for (const Case& c : cases()) {
    if (std::string_view(c.name) == "bert-bge" || !tests::have(c.model))
      continue;  // BERT normalises
    const auto tokenizer = make_tokenizer(gguf::GgufFile::open(c.model.string()));
    for (const json::value& value : texts.as_array()) {
      const std::string text(value.as_string());
      INFO(c.name << ": " << json::serialize(value));
      CHECK(tokenizer->decode(tokenizer->encode(text, {})) == text);
    }
  }
}

}  // namespace
}  // namespace olx::engine
