// "format", response_format, output_config and options.grammar over a real socket: what a random model at temperature 2 writes
// keeps to them, whoever asks, and what cannot be kept to is a 400 that names it.
#include "tests/server/api/server_fixture.h"
#include "tests/support/catch.h"

using namespace olx::tests;
namespace json = boost::json;

namespace {

constexpr const char* kSchema =
    R"({"type":"object","properties":{"name":{"type":"string","minLength":1,"maxLength":6},"n":{"type":"integer","minimum":-5,"maximum":99},"tags":{"type":"array","items":{"enum":["a","b"]},"maxItems":3}},"required":["name","n"],"additionalProperties":false})";

void check_answer(const std::string& text) {
  INFO(text);
  json::error_code error;
  const json::value value = json::parse(text, error);
  REQUIRE_FALSE(error);
  const json::object& object = value.as_object();
  CHECK(object.at("name").as_string().size() >= 1);
  CHECK(object.at("n").as_int64() >= -5);
  CHECK(object.at("n").as_int64() <= 99);
  for (const auto& member : object) CHECK((member.key() == "name" || member.key() == "n" || member.key() == "tags"));
}

std::string hot(int seed) { return R"("options":{"temperature":2,"top_k":0,"top_p":1,"num_predict":400,"seed":)" + std::to_string(seed) + "}"; }

}  // namespace

TEST_CASE("Constrained_EveryProtocolHoldsARandomModelToASchema") {
  ServerFixture fixture(2, 512);
  REQUIRE(fixture.create_tiny("m").status == 200);
  const std::string schema = kSchema;
  for (int seed = 0; seed < 5; ++seed) {
    const HttpAnswer generated = fixture.post("/api/generate", R"({"model":"m","prompt":"x","stream":false,"format":)" + schema + "," + hot(seed) + "}");
    REQUIRE(generated.status == 200);
    CHECK(object_in(generated).at("done_reason") == "stop");
    check_answer(std::string(object_in(generated).at("response").as_string()));

    std::string streamed;
    for (const json::object& record : lines_in(fixture.post("/api/chat", R"({"model":"m","messages":[{"role":"user","content":"x"}],"format":)" + schema + "," + hot(seed) + "}")))
      streamed += record.at("message").at("content").as_string();
    check_answer(streamed);

    const HttpAnswer chat = fixture.post("/v1/chat/completions", R"({"model":"m","messages":[{"role":"user","content":"x"}],"temperature":2,"max_tokens":400,"seed":)" + std::to_string(seed) +
                                                                     R"(,"response_format":{"type":"json_schema","json_schema":{"name":"answer","schema":)" + schema + "}}}");
    REQUIRE(chat.status == 200);
    check_answer(std::string(object_in(chat).at("choices").at(0).at("message").at("content").as_string()));

    const HttpAnswer message = fixture.post("/v1/messages", R"({"model":"m","messages":[{"role":"user","content":"x"}],"max_tokens":400,"temperature":1,"output_config":{"format":{"type":"json_schema","schema":)" + schema + "}}}");
    REQUIRE(message.status == 200);
    check_answer(std::string(object_in(message).at("content").at(0).at("text").as_string()));
  }
}

TEST_CASE("Constrained_FormatJsonIsAnObjectAsFarAsItGoes") {
  ServerFixture fixture(1, 512);
  REQUIRE(fixture.create_tiny("m").status == 200);
  for (const char* path : {"/api/generate", "/v1/chat/completions"}) {
    const bool is_native = std::string_view(path) == "/api/generate";
    const HttpAnswer answer = is_native ? fixture.post(path, R"({"model":"m","prompt":"x","stream":false,"format":"json",)" + hot(1) + "}")
                                        : fixture.post(path, R"({"model":"m","messages":[{"role":"user","content":"x"}],"max_tokens":400,"seed":2,"temperature":2,"response_format":{"type":"json_object"}})");
    REQUIRE(answer.status == 200);
    const json::object record = object_in(answer);
    const std::string text(is_native ? record.at("response").as_string() : record.at("choices").at(0).at("message").at("content").as_string());
    INFO(text);
    const bool is_whole = (is_native ? record.at("done_reason") : record.at("choices").at(0).at("finish_reason")) == "stop";
    json::stream_parser parser;  // an answer cut by num_predict is the beginning of an object
    json::error_code error;
    parser.write(text, error);
    CHECK_FALSE(error);
    CHECK(text.starts_with("{"));
    if (is_whole) CHECK(parser.done());
  }
}

TEST_CASE("Constrained_GrammarsOfTheOptionsAreKeptTo") {
  ServerFixture fixture(1, 512);
  REQUIRE(fixture.create_tiny("m").status == 200);
  for (int seed = 0; seed < 5; ++seed) {
    const std::string options = R"("options":{"temperature":2,"seed":)" + std::to_string(seed) + R"x(,"grammar":"root ::= \"<\" [a-f]{3,6} \">\" (\"yes\" | \"no\")"})x";
    const std::string text(object_in(fixture.post("/api/generate", R"({"model":"m","prompt":"x","stream":false,)" + options + "}")).at("response").as_string());
    INFO(text);
    const size_t close = text.find('>');
    REQUIRE(close != std::string::npos);
    CHECK(text.front() == '<');
    CHECK(text.substr(1, close - 1).find_first_not_of("abcdef") == std::string::npos);
    CHECK((close >= 4 && close <= 7));
    CHECK((text.substr(close + 1) == "yes" || text.substr(close + 1) == "no"));
    // The end of the grammar is the end of the answer, without a token for it.
    CHECK(object_in(fixture.post("/api/chat", R"({"model":"m","messages":[{"role":"user","content":"x"}],"stream":false,)" + options + "}")).at("done_reason") == "stop");
  }
}

TEST_CASE("Constrained_WhatCannotBeKeptToIsRefusedByName") {
  ServerFixture fixture;
  REQUIRE(fixture.create_tiny("m").status == 200);
  struct Row {
    const char *path, *members, *says;
  };
  const Row rows[] = {
      {"/api/generate", R"("prompt":"x","format":{"type":"object","patternProperties":{}})", "the keyword 'patternProperties' is not supported"},
      {"/api/chat", R"("messages":[{"role":"user","content":"x"}],"format":{"properties":{"a":{"uniqueItems":true,"type":"array"}}})", "'uniqueItems' is not supported"},
      {"/v1/chat/completions", R"("messages":[{"role":"user","content":"x"}],"response_format":{"type":"json_schema","json_schema":{"schema":{"not":{}}}})", "the keyword 'not' is not supported"},
      {"/v1/messages", R"("messages":[{"role":"user","content":"x"}],"max_tokens":9,"output_config":{"format":{"type":"json_schema","schema":{"if":{}}}})", "the keyword 'if' is not supported"},
      {"/api/generate", R"("prompt":"x","options":{"grammar":"root ::= x"})", "the rule 'x' is not defined"},
      {"/api/generate", R"("prompt":"x","format":"json","options":{"grammar":"root ::= \"a\""})", "cannot be given together"},
  };
  for (const Row& row : rows) {
    const HttpAnswer answer = fixture.post(row.path, std::string(R"({"model":"m",)") + row.members + "}");
    INFO(row.path << " " << row.members << " -> " << answer.body);
    CHECK(answer.status == 400);
    CHECK(answer.body.find(row.says) != std::string::npos);
  }
  // Nothing the model has can go on: an error, and the server lives.
  const HttpAnswer dead = fixture.post("/api/generate", R"({"model":"m","prompt":"x","stream":false,"options":{"grammar":"root ::= \"\u00e9\""}})");
  CHECK(dead.status == 500);
  CHECK(dead.body.find("no token of the model continues the answer") != std::string::npos);
  CHECK(fixture.get("/api/version").status == 200);
}
