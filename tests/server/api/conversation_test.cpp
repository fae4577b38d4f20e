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
