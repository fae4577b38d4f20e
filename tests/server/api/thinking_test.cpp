// Thinking over the API, with a tiny random model whose prompt opens it: everything it writes is
// thinking then.
#include "tests/server/api/server_fixture.h"
#include "tests/support/catch.h"

using namespace olx::tests;
namespace json = boost::json;

namespace {

constexpr const char* kThinkingJinja =
    "{% for m in messages %}{{ m.role }}:{{ m.content }} {% endfor %}A:{% if enable_thinking is "
    "defined and not enable_thinking %}"
    "<think></think>{% else %}<think>{% endif %}";

std::string ask(const std::string& more) {
  return R"({"model":"m","options":{"num_predict":8,"seed":1},"stream":false)" + more + "}";
}
const std::string kMessages = R"(,"messages":[{"role":"user","content":"hi"}])";

}  // namespace

TEST_CASE("Thinking_IsOnUnlessToldOtherwise") {
  ServerFixture fixture(1, 256);
  REQUIRE(fixture.create_tiny("m", "", kThinkingJinja).status == 200);
  CHECK(object_in(fixture.post("/api/show", R"({"model":"m"})")).at("capabilities") ==
        json::value({"completion", "thinking"}));
  for (const char* think : {"", R"(,"think":true)", R"(,"think":"low")"}) {
    INFO(think);
    const json::object chat = object_in(fixture.post("/api/chat", ask(kMessages + think)));
    CHECK(chat.at("message").at("content") == "");
    CHECK(!chat.at("message").at("thinking").as_string().empty());
    const json::object generated =
        object_in(fixture.post("/api/generate", ask(std::string(R"(,"prompt":"hi")") + think)));
    CHECK(generated.at("response") == "");
    CHECK(!generated.at("thinking").as_string().empty());
  }
}

TEST_CASE("Thinking_OffIsToldToTheTemplate") {
  ServerFixture fixture(1, 256);
  REQUIRE(fixture.create_tiny("m", "", kThinkingJinja).status == 200);
  const json::object chat =
      object_in(fixture.post("/api/chat", ask(kMessages + R"(,"think":false)")));
  CHECK(!chat.at("message").as_object().contains("thinking"));
  CHECK(!chat.at("message").at("content").as_string().empty());
  const json::object rendered = object_in(
      fixture.post("/api/chat", ask(kMessages + R"(,"think":false,"_debug_render_only":true)")));
  CHECK(
      rendered.at("_debug_info").at("rendered_template").as_string().ends_with("<think></think>"));
}

TEST_CASE("Thinking_StreamsApartOnEveryRoute") {
  ServerFixture fixture(1, 256);
  REQUIRE(fixture.create_tiny("m", "", kThinkingJinja).status == 200);
  const std::string body =
      R"({"model":"m","stream":true,"max_tokens":8,"seed":1)" + kMessages + "}";
  const HttpAnswer openai = fixture.post("/v1/chat/completions", body);
  CHECK(openai.body.find("\"reasoning\":\"") != std::string::npos);
  CHECK(fixture.post("/v1/messages", body).body.find("\"thinking_delta\"") != std::string::npos);
  std::string thinking;
  for (const json::object& record : lines_in(fixture.post(
           "/api/generate", R"({"model":"m","prompt":"hi","options":{"num_predict":8}})"))) {
    CHECK(record.at("response") == "");
    if (record.contains("thinking")) thinking += record.at("thinking").as_string();
  }
  CHECK(!thinking.empty());
}

TEST_CASE("Thinking_OfARawPromptIsText") {
  ServerFixture fixture(1, 256);
  REQUIRE(fixture.create_tiny("m", "", kThinkingJinja).status == 200);
  const json::object raw =
      object_in(fixture.post("/api/generate", ask(R"(,"prompt":"hi <think>","raw":true)")));
  CHECK(!raw.contains("thinking"));
  CHECK(!raw.at("response").as_string().empty());
}

TEST_CASE("Thinking_ComesBeforeWhatAFormatHoldsFor") {
  ServerFixture fixture(1, 256);
  REQUIRE(fixture.create_tiny("m", "", kThinkingJinja).status == 200);
  const std::string format =
      R"(,"format":{"type":"object","properties":{"n":{"enum":[1,2]}},"required":["n"],"additionalProperties":false})";
  const json::object off =
      object_in(fixture.post("/api/chat", ask(kMessages + format + R"(,"think":false)")));
  CHECK(off.at("message").at("content").as_string().starts_with("{"));
  // The prompt has begun the thinking: nothing is asked of it.
  const json::object on = object_in(fixture.post("/api/chat", ask(kMessages + format)));
  CHECK(on.at("message").at("content") == "");
  CHECK(!on.at("message").at("thinking").as_string().starts_with("{\""));
  CHECK(on.at("eval_count") == 8);
  const json::object generated =
      object_in(fixture.post("/api/generate", ask(R"(,"prompt":"hi","think":false)" + format)));
  CHECK(generated.at("response").as_string().starts_with("{"));
}
