// /v1 over a real socket, with a tiny random model: shapes of answers, streams and errors.
#include "tests/server/api/server_fixture.h"
#include "tests/support/catch.h"

using namespace olx::tests;
namespace json = boost::json;

namespace {

constexpr const char* kChatTemplate = R"(,"template":"{{ range .Messages }}{{ .Role }}:{{ .Content }} {{ end }}A:")";

// The events of a stream; the last must be [DONE].
std::vector<json::object> chat_events(const HttpAnswer& answer) {
  std::vector<json::object> events;
  bool is_done = false;
  for (size_t from = 0; from < answer.body.size();) {
    const size_t end = answer.body.find("\n\n", from);
    REQUIRE(end != std::string::npos);
    const std::string line = answer.body.substr(from, end - from);
    from = end + 2;
    REQUIRE(line.starts_with("data: "));
    REQUIRE(!is_done);
    is_done = line == "data: [DONE]";
    if (!is_done) events.push_back(json::parse(line.substr(6)).as_object());
  }
  CHECK(is_done);
  return events;
}

const json::object& choice_of(const json::object& event) { return event.at("choices").at(0).as_object(); }

}  // namespace

TEST_CASE("OpenAiChat_AnswersWholeAndStreamed") {
  ServerFixture fixture(1, 256);
  REQUIRE(fixture.create_tiny("m", kChatTemplate).status == 200);
  const std::string ask = R"({"model":"m","messages":[{"role":"user","content":"Hello"}],"max_tokens":5,"temperature":0)";
  const HttpAnswer whole = fixture.post("/v1/chat/completions", ask + "}");
  REQUIRE(whole.status == 200);
  CHECK(whole.has_header("Content-Type: application/json"));
  const json::object answer = object_in(whole);
  CHECK(keys_of(answer) == "id object created model system_fingerprint choices usage");
  CHECK(answer.at("object") == "chat.completion");
  CHECK(answer.at("model") == "m");
  CHECK(keys_of(choice_of(answer)) == "index message finish_reason");
  const json::object& message = choice_of(answer).at("message").as_object();
  CHECK(message.at("role") == "assistant");
  CHECK(answer.at("usage").at("completion_tokens").as_int64() <= 5);
  CHECK(answer.at("usage").at("total_tokens").as_int64() ==
        answer.at("usage").at("prompt_tokens").as_int64() + answer.at("usage").at("completion_tokens").as_int64());

  const HttpAnswer streamed = fixture.post("/v1/chat/completions", ask + R"(,"stream":true,"stream_options":{"include_usage":true}})");
  CHECK(streamed.has_header("Content-Type: text/event-stream"));
  const auto events = chat_events(streamed);
  REQUIRE(events.size() >= 3);
  CHECK(choice_of(events[0]).at("delta").at("role") == "assistant");
  std::string text;
  for (size_t i = 0; i + 1 < events.size(); ++i) {
    CHECK(events[i].at("object") == "chat.completion.chunk");
    CHECK(events[i].at("id") == events[0].at("id"));
    CHECK(!events[i].contains("usage"));
    const json::object& delta = choice_of(events[i]).at("delta").as_object();
    CHECK((i == 0) == delta.contains("role"));
    CHECK(choice_of(events[i]).at("finish_reason").is_null() == (i + 2 < events.size()));
    if (delta.contains("content")) text += delta.at("content").as_string();
  }
  CHECK(json::value(text) == message.at("content"));
  CHECK(events.back().at("choices").as_array().empty());
  CHECK(events.back().at("usage").at("completion_tokens") == answer.at("usage").at("completion_tokens"));
  CHECK(choice_of(events[events.size() - 2]).at("finish_reason") == choice_of(answer).at("finish_reason"));
}

TEST_CASE("OpenAiChat_GivesSeveralChoicesAndLogprobs") {
  ServerFixture fixture(1, 256);
  REQUIRE(fixture.create_tiny("m", kChatTemplate).status == 200);
  const std::string ask = R"({"model":"m","messages":[{"role":"user","content":"Hi"}],"max_tokens":6,"seed":1,"n":2,"logprobs":true,"top_logprobs":2)";
  const json::object whole = object_in(fixture.post("/v1/chat/completions", ask + "}"));
  const json::array& choices = whole.at("choices").as_array();
  REQUIRE(choices.size() == 2);
  CHECK(choices[1].at("index") == 1);
  CHECK(choices[0].at("message") != choices[1].at("message"));
  for (const json::value& choice : choices) {
    const json::array& content = choice.at("logprobs").at("content").as_array();
    REQUIRE(!content.empty());
    CHECK(content[0].at("top_logprobs").as_array().size() == 2);
    CHECK(content[0].at("logprob").to_number<double>() <= 0);
  }
  std::string texts[2];
  for (const auto& event : chat_events(fixture.post("/v1/chat/completions", ask + R"(,"stream":true})")))
    if (const json::value* text = choice_of(event).at("delta").as_object().if_contains("content"))
      texts[choice_of(event).at("index").as_int64()] += text->as_string();
  for (size_t i = 0; i < 2; ++i) CHECK(json::value(texts[i]) == choices[i].at("message").at("content"));
}

TEST_CASE("OpenAi_ErrorsAreInItsShape") {
  ServerFixture fixture;
  REQUIRE(fixture.create_tiny("m").status == 200);
  const auto check = [&](const HttpAnswer& answer, int status, const std::string& message, const std::string& type) {
    CHECK(answer.status == status);
    CHECK(answer.body == R"({"error":{"message":")" + message + R"(","type":")" + type + R"(","param":null,"code":null}})");
  };
  check(fixture.post("/v1/chat/completions", R"({"model":"gone","messages":[{"role":"user","content":"x"}]})"), 404,
        "model 'gone' not found", "not_found_error");
  check(fixture.post("/v1/chat/completions", R"({"model":"m"})"), 400, "[] is too short - 'messages'", "invalid_request_error");
  check(fixture.post("/v1/chat/completions", ""), 400, "missing request body", "invalid_request_error");
  check(fixture.get("/v1/models/gone"), 404, "model 'gone:latest' not found", "not_found_error");
  CHECK(fixture.post("/v1/chat/completions", "{").status == 400);
  CHECK(fixture.post("/v1/chat/completions", "[]").status == 400);
  // Ollama's own routes keep theirs.
  CHECK(fixture.post("/api/chat", "").body == R"({"error":"missing request body"})");
}

TEST_CASE("OpenAi_ListsModels") {
  ServerFixture fixture;
  CHECK(fixture.get("/v1/models").body == R"({"object":"list","data":[]})");
  REQUIRE(fixture.create_tiny("m").status == 200);
  REQUIRE(fixture.create_tiny("someone/big").status == 200);
  const json::object list = object_in(fixture.get("/v1/models"));
  CHECK(list.at("data").as_array().size() == 2);
  for (const char* id : {"m", "m:latest", "m%3Alatest", "M"}) {
    const json::object model = object_in(fixture.get("/v1/models/" + std::string(id)));
    CHECK(model.at("object") == "model");
    CHECK(model.at("owned_by") == "library");
    CHECK(model.at("created").as_int64() > 1'700'000'000);
  }
  CHECK(object_in(fixture.get("/v1/models/m")).at("id") == "m");
  for (const char* id : {"someone/big", "someone%2Fbig:latest"})
    CHECK(object_in(fixture.get("/v1/models/" + std::string(id))).at("owned_by") == "someone");
  for (const char* id : {"%", "%2", "%zz", "%00", "a%2F..%2Fb", "..", "%ff"}) CHECK(fixture.get("/v1/models/" + std::string(id)).status == 404);
}

TEST_CASE("OpenAiCompletions_AnswerPromptsWholeAndStreamed") {
  ServerFixture fixture(1, 256);
  REQUIRE(fixture.create_tiny("m").status == 200);
  const std::string ask = R"({"model":"m","prompt":["Hello","Bye"],"max_tokens":5,"temperature":0,"logprobs":1)";
  const json::object whole = object_in(fixture.post("/v1/completions", ask + "}"));
  CHECK(keys_of(whole) == "id object created model system_fingerprint choices usage");
  CHECK(whole.at("object") == "text_completion");
  const json::array& choices = whole.at("choices").as_array();
  REQUIRE(choices.size() == 2);
  CHECK(keys_of(choices[0].as_object()) == "text index logprobs finish_reason");
  CHECK(choices[1].at("index") == 1);
  const json::object& logprobs = choices[0].at("logprobs").as_object();
  CHECK(logprobs.at("tokens").as_array().size() == logprobs.at("token_logprobs").as_array().size());
  CHECK(logprobs.at("text_offset").at(0) == 0);
  CHECK(logprobs.at("top_logprobs").at(0).as_object().size() == 1);

  const auto events = chat_events(fixture.post("/v1/completions", ask + R"(,"stream":true,"stream_options":{"include_usage":true}})"));
  std::string texts[2];
  for (size_t i = 0; i + 1 < events.size(); ++i) texts[choice_of(events[i]).at("index").as_int64()] += choice_of(events[i]).at("text").as_string();
  for (size_t i = 0; i < 2; ++i) CHECK(json::value(texts[i]) == choices[i].at("text"));
  CHECK(choice_of(events[events.size() - 2]).at("finish_reason") == choices[1].at("finish_reason"));
  CHECK(events.back().at("usage").at("prompt_tokens") == whole.at("usage").at("prompt_tokens"));

  const json::object echoed = object_in(fixture.post("/v1/completions", R"({"model":"m","prompt":"Hello","max_tokens":2,"echo":true})"));
  CHECK(choice_of(echoed).at("text").as_string().starts_with("Hello"));
  for (const char* members : {R"("prompt":7)", R"("prompt":[])", R"("prompt":[1,2])", R"("prompt":[[1]])", R"("prompt":null)", R"("prompt":"x","n":0)",
                              R"("prompt":"x","suffix":"y")", R"("prompt":"x","logprobs":99)", R"("prompt":"x","echo":"y")"})
    CHECK(fixture.post("/v1/completions", R"({"model":"m",)" + std::string(members) + "}").status == 400);
}
