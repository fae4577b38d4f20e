// Speculation as a client of the server sees it: options, counts, refusals; the text never changes.
#include <string>
#include <vector>

#include "tests/server/api/server_fixture.h"
#include "tests/support/catch.h"

using namespace olx::tests;
namespace json = boost::json;
using Speculate = olx::server::ServerOptions::Speculate;

namespace {

const char* const kSpeculateAsk =
    R"({"model":"m","prompt":"abcabcabcabcabcabc","stream":false,"options":{"temperature":0,"num_predict":40)";

json::object ask(ServerFixture& fixture, const std::string& more_options) {
  return object_in(fixture.post("/api/generate", kSpeculateAsk + more_options + "}}"));
}

}  // namespace

TEST_CASE("ApiSpeculate_OptionsChangeTheCountsAndNotTheText") {
  std::string text;
  for (const Speculate speculate : {Speculate::kOff, Speculate::kAdaptive, Speculate::kAlways}) {
    ServerFixture fixture(1, 128, [&](auto& options) { options.speculate = speculate; });
    REQUIRE(fixture.create_tiny("m").status == 200);
    const json::object answer = ask(fixture, R"(,"draft_num_predict":-1)");
    if (text.empty()) text = answer.at("response").as_string();
    CHECK(text == answer.at("response").as_string());
    if (speculate == Speculate::kOff) CHECK_FALSE(answer.contains("draft_count"));
    if (speculate != Speculate::kAlways) continue;
    CHECK(answer.at("draft_count").as_int64() > 0);
    const json::object none = ask(fixture, R"(,"draft_num_predict":0)");
    CHECK(none.at("response") == json::value(text));
    CHECK_FALSE(none.contains("draft_count"));
    const std::string metrics = fixture.get("/metrics").body;
    CHECK(metrics.find("ollamax_drafted_tokens_total " +
                       std::to_string(answer.at("draft_count").as_int64())) != std::string::npos);
    CHECK_FALSE(ask(fixture, "").contains("draft_count"));  // Ollama's fields and no other
  }
}

TEST_CASE("ApiSpeculate_ADraftModelIsAnInstalledOneWithTheSameVocabulary") {
  ServerFixture fixture(1, 128);
  REQUIRE(fixture.create_tiny("m").status == 200);
  REQUIRE(fixture.create_tiny("small").status == 200);
  TinyModel other;
  other.more_metadata = [](olx::gguf::GgufWriter& writer) {  // the same tokens in another order
    std::vector<std::string> tokens;
    for (char c = '~'; c >= '!'; --c) tokens.emplace_back(1, c);
    tokens.insert(tokens.end(), {"\u0120", "\u010a", "<eos>"});
    writer.set_string("tokenizer.ggml.model", "gpt2");
    writer.set_string("tokenizer.ggml.pre", "gpt-2");
    writer.set_strings("tokenizer.ggml.tokens", tokens);
    writer.set_int32s("tokenizer.ggml.token_type", std::vector<int32_t>(tokens.size(), 1));
    writer.set_strings("tokenizer.ggml.merges", {});
    writer.set_uint32("tokenizer.ggml.eos_token_id", static_cast<uint32_t>(tokens.size() - 1));
  };
  write_tiny_model("llama", other, fixture.file("other.gguf"));
  REQUIRE(fixture.create("other", fixture.file("other.gguf")).status == 200);

  const json::object plain = ask(fixture, ""), drafted = ask(fixture, R"(,"draft":"small")");
  CHECK(plain.at("response") == drafted.at("response"));
  const auto refused = [&](const std::string& draft) {
    return fixture.post("/api/generate", kSpeculateAsk + (R"(,"draft":")" + draft + "\"}}"));
  };
  CHECK(refused("nowhere").status == 404);
  CHECK(refused(fixture.file("other.gguf")).status == 404);  // paths are not for requests
  CHECK(refused("other").status == 400);
  CHECK(refused("other").body.find("vocabulary") != std::string::npos);
  CHECK(refused("").status == 200);  // none
  const HttpAnswer wrong = fixture.post("/api/generate", kSpeculateAsk + std::string(R"(,"draft":5}})"));
  CHECK(wrong.body.find("option \\\"draft\\\" must be of type string") != std::string::npos);
}

TEST_CASE("ApiSpeculate_TheServersDraftModelServesThoseItFits") {
  TempDir folder;
  TinyModel tiny;
  tiny.more_metadata = [](olx::gguf::GgufWriter& writer) { write_ascii_vocabulary(writer); };
  write_tiny_model("llama", tiny, folder.file("draft.gguf"));
  std::string text;
  for (const std::string& draft :
       {std::string(), folder.file("draft.gguf"), folder.file("missing.gguf")}) {
    ServerFixture fixture(1, 128, [&](auto& options) {
      options.draft = draft;
      options.speculate = Speculate::kAlways;
    });
    REQUIRE(fixture.create_tiny("m").status == 200);
    const json::object answer = ask(fixture, "");
    if (text.empty()) text = answer.at("response").as_string();
    CHECK(text == answer.at("response").as_string());
  }
}
