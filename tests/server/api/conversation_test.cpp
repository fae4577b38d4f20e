// What of a conversation the model gets to read, and where its answer ends.
#include "tests/server/api/server_fixture.h"
#include "tests/support/catch.h"

using namespace olx::tests;
namespace json = boost::json;

namespace {

constexpr const char* kRoles =
    "{% for m in messages %}{{ m.role }}={{ m.content }};{% endfor %}"
    "{% if add_generation_prompt %}assistant={% endif %}";

std::string prompt_of(ServerFixture& fixture, const std::string& messages,
                      const std::string& more = "") {
  const HttpAnswer answer = fixture.post(
      "/api/chat", R"({"model":"m","_debug_render_only":true,"messages":)" + messages + more + "}");
  return std::string(object_in(answer).at("_debug_info").at("rendered_template").as_string());
}

}  // namespace

TEST_CASE("Conversation_ASystemMessageOfTheRequestTakesTheModelsPlace") {
  ServerFixture fixture;
  REQUIRE(fixture
              .create_tiny("m",
                           R"(,"system":"model's","messages":[{"role":"user","content":"old"}])",
                           kRoles)
              .status == 200);
  CHECK(prompt_of(fixture, R"([{"role":"user","content":"q"}])") ==
        "system=model's;user=old;user=q;assistant=");
  CHECK(
      prompt_of(fixture, R"([{"role":"System","content":"mine"},{"role":"user","content":"q"}])") ==
      "user=old;system=mine;user=q;assistant=");
  // Only where it comes first.
  CHECK(
      prompt_of(fixture, R"([{"role":"user","content":"q"},{"role":"system","content":"mine"}])") ==
      "system=model's;user=old;user=q;system=mine;assistant=");
}

TEST_CASE("Conversation_AnAnswerThatIsBegunIsGoneOnWith") {
  ServerFixture fixture;
  REQUIRE(fixture.create_tiny("m", "", kRoles).status == 200);
  const std::string user = R"([{"role":"user","content":"count"},)";
  CHECK(prompt_of(fixture, user + R"({"role":"assistant","content":"One, "}])") ==
        "user=count;assistant=One, ");
  // An earlier answer is one that has ended; nothing, and calls, begin none.
  CHECK(prompt_of(fixture,
                  user + R"({"role":"assistant","content":"a"},{"role":"user","content":"b"}])") ==
        "user=count;assistant=a;user=b;assistant=");
  CHECK(prompt_of(fixture, user + R"({"role":"assistant","content":""}])") ==
        "user=count;assistant=;assistant=");
  CHECK(
      prompt_of(
          fixture,
          user +
              R"({"role":"assistant","content":"a","tool_calls":[{"function":{"name":"f","arguments":{}}}]}])") ==
      "user=count;assistant=a;assistant=");
  CHECK(prompt_of(fixture, R"([{"role":"assistant","content":"alone"}])") ==
        "assistant=alone;assistant=");
  // A control token that is spelled in it stays text.
  const HttpAnswer answer = fixture.post(
      "/api/chat", R"({"model":"m","stream":false,"options":{"num_predict":1},"messages":)" + user +
                       R"({"role":"assistant","content":"<eos>"}]})");
  CHECK(object_in(answer).at("prompt_eval_count") ==
        json::value(std::string("user=count;assistant=<eos>").size()));
}

TEST_CASE("Conversation_TextOfABegunAnswerIsNoThinking") {
  ServerFixture fixture;
  const std::string thinks = "{# <think> </think> #}" + std::string(kRoles) +
                             "{% if add_generation_prompt %}<think>\n{% endif %}";
  REQUIRE(fixture.create_tiny("m", "", thinks).status == 200);
  CHECK(prompt_of(fixture,
                  R"([{"role":"user","content":"q"},{"role":"assistant","content":"One"}])") ==
        "user=q;assistant=One;assistant=<think>\n");
}

TEST_CASE("Conversation_WithoutATemplateEndsAtChatMlsMarks") {
  ServerFixture fixture;
  REQUIRE(fixture.create_tiny("m").status == 200);
  const auto ask = [&](const char* path, const char* prompt) {
    return object_in(fixture.post(
        path,
        R"({"model":"m","stream":false,"options":{"grammar":"root ::= \"ok<|im_end|>\\n<|im_start|>user\""},)" +
            std::string(prompt) + "}"));
  };
  CHECK(prompt_of(fixture, R"([{"role":"user","content":"q"}])") ==
        "<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\n");
  const json::object chat = ask("/api/chat", R"("messages":[{"role":"user","content":"q"}])");
  CHECK(chat.at("message").at("content") == "ok");
  CHECK(chat.at("done_reason") == "stop");
  // A prompt that is not put into that form has no such end.
  CHECK(ask("/api/generate", R"("prompt":"q")").at("response") == "ok<|im_end|>\n<|im_start|>user");
  REQUIRE(fixture.create_tiny("m", "", kRoles).status == 200);
  CHECK(ask("/api/chat", R"("messages":[{"role":"user","content":"q"}])")
            .at("message")
            .at("content") == "ok<|im_end|>\n<|im_start|>user");
}
