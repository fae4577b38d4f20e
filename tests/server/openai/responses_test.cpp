// /v1/responses over a real socket, with a tiny random model: the object, the order of the events,
// errors.
#include "tests/server/api/server_fixture.h"
#include "tests/support/catch.h"

using namespace olx::tests;
namespace json = boost::json;

namespace {

constexpr const char* kResponsesTemplate =
    R"(,"template":"{{ range .Messages }}{{ .Role }}:{{ .Content }} {{ end }}A:")";
constexpr const char* kThinking =
    "{% for m in messages %}{{ m.content }}{% endfor %}<think>{% if 0 %}</think>{% endif %}";
const std::string kAsk =
    R"({"model":"m","input":"Hello","max_output_tokens":6,"options":{"seed":3},"temperature":0)";

// The events; each names its type twice and has the next number.
std::vector<json::object> responses_events(const HttpAnswer& answer) {
  std::vector<json::object> events;
  for (size_t from = 0; from < answer.body.size();) {
    const size_t end = answer.body.find("\n\n", from), line = answer.body.find("\ndata: ", from);
    REQUIRE(end != std::string::npos);
    REQUIRE(line < end);
    REQUIRE(answer.body.substr(from, 7) == "event: ");
    const json::value name(answer.body.substr(from + 7, line - from - 7));
    events.push_back(json::parse(answer.body.substr(line + 7, end - line - 7)).as_object());
    CHECK(events.back().at("type") == name);
    CHECK(events.back().at("sequence_number") == events.size() - 1);
    from = end + 2;
  }
  return events;
}

// The types, a run of the same one written once.
std::string order_of(const std::vector<json::object>& events) {
  std::string out, last;
  for (const json::object& event : events) {
    std::string type(event.at("type").as_string());
    type = type.substr(std::string("response.").size());
    if (type != last) out += type + " ";
    last = type;
  }
  return out;
}

}  // namespace

TEST_CASE("Responses_AnswerWhole") {
  ServerFixture fixture(1, 256);
  REQUIRE(fixture.create_tiny("m", kResponsesTemplate).status == 200);
  const json::object answer =
      object_in(fixture.post("/v1/responses", kAsk + R"(,"metadata":{"k":"v"}})"));
  CHECK(keys_of(answer) ==
        "id object created_at completed_at status incomplete_details model output error "
        "previous_response_id instructions tools tool_choice "
        "truncation parallel_tool_calls text top_p presence_penalty frequency_penalty top_logprobs "
        "temperature reasoning max_output_tokens "
        "max_tool_calls store background service_tier metadata safety_identifier prompt_cache_key "
        "usage");
  CHECK(answer.at("id").as_string().starts_with("resp_"));
  CHECK(answer.at("object") == "response");
  CHECK(answer.at("status") == "completed");
  CHECK(answer.at("metadata").at("k") == "v");
  REQUIRE(answer.at("output").as_array().size() == 1);
  const json::object& item = answer.at("output").at(0).as_object();
  CHECK(keys_of(item) == "id type status role content");
  CHECK(keys_of(item.at("content").at(0).as_object()) == "type text annotations logprobs");
  CHECK(!item.at("content").at(0).at("text").as_string().empty());
  const json::object& usage = answer.at("usage").as_object();
  CHECK(usage.at("total_tokens").as_int64() ==
        usage.at("input_tokens").as_int64() + usage.at("output_tokens").as_int64());
}

TEST_CASE("Responses_StreamTypedEvents") {
  ServerFixture fixture(1, 256);
  REQUIRE(fixture.create_tiny("m", kResponsesTemplate).status == 200);
  const json::object whole = object_in(fixture.post("/v1/responses", kAsk + "}"));
  const HttpAnswer streamed = fixture.post("/v1/responses", kAsk + R"(,"stream":true})");
  CHECK(streamed.has_header("Content-Type: text/event-stream"));
  const auto events = responses_events(streamed);
  CHECK(order_of(events) ==
        "created in_progress output_item.added content_part.added output_text.delta "
        "output_text.done content_part.done output_item.done completed ");
  std::string text;
  for (const json::object& event : events)
    if (event.at("type") == "response.output_text.delta") text += event.at("delta").as_string();
  const json::value& last = events.back().at("response");
  CHECK(json::value(text) == last.at("output").at(0).at("content").at(0).at("text"));
  CHECK(last.at("output").at(0).at("content") == whole.at("output").at(0).at("content"));
  CHECK(last.at("id") == events[0].at("response").at("id"));
  CHECK(last.at("output").at(0).at("id") == events[2].at("item").at("id"));
  CHECK(events[0].at("response").at("status") == "in_progress");
  CHECK(events[0].at("response").at("usage").is_null());
}

TEST_CASE("Responses_ThinkInAnItemOfItsOwn") {
  ServerFixture fixture(1, 256);
  REQUIRE(fixture.create_tiny("m", "", kThinking).status == 200);
  const json::object whole = object_in(fixture.post("/v1/responses", kAsk + "}"));
  REQUIRE(whole.at("output").as_array().size() == 2);
  const json::object& thought = whole.at("output").at(0).as_object();
  CHECK(thought.at("type") == "reasoning");
  CHECK(thought.at("summary").at(0).at("text") == thought.at("encrypted_content"));
  CHECK(whole.at("output").at(1).at("content").at(0).at("text") == "");
  const auto events = responses_events(fixture.post("/v1/responses", kAsk + R"(,"stream":true})"));
  CHECK(order_of(events) ==
        "created in_progress output_item.added reasoning_summary_text.delta "
        "reasoning_summary_text.done output_item.done "
        "output_item.added content_part.added output_text.done content_part.done output_item.done "
        "completed ");
  // What was given out may come back.
  const json::object again = object_in(
      fixture.post("/v1/responses",
                   json::serialize(json::object{
                       {"model", "m"}, {"max_output_tokens", 2}, {"input", whole.at("output")}})));
  CHECK(again.at("status") == "completed");
}

TEST_CASE("Responses_GiveLogprobsWhereTheyAreAskedFor") {
  ServerFixture fixture(1, 256);
  REQUIRE(fixture.create_tiny("m", kResponsesTemplate).status == 200);
  const json::object whole = object_in(fixture.post(
      "/v1/responses", kAsk + R"(,"include":["message.output_text.logprobs"],"top_logprobs":1})"));
  const json::value& part = whole.at("output").at(0).at("content").at(0);
  std::string tokens;
  for (const json::value& entry : part.at("logprobs").as_array()) {
    tokens += entry.at("token").as_string();
    CHECK(entry.at("top_logprobs").as_array().size() == 1);
  }
  CHECK(json::value(tokens) == part.at("text"));
}

TEST_CASE("Responses_ErrorsAreOpenAis") {
  ServerFixture fixture(1, 256);
  REQUIRE(fixture.create_tiny("m", kResponsesTemplate).status == 200);
  for (const char* stream : {"", R"(,"stream":true)"}) {
    const HttpAnswer missing =
        fixture.post("/v1/responses", std::string(R"({"model":"none","input":"x")") + stream + "}");
    CHECK(missing.status == 404);
    CHECK(object_in(missing).at("error").at("message") == "model 'none' not found");
    const HttpAnswer tools = fixture.post(
        "/v1/responses",
        std::string(R"({"model":"m","input":"x","tools":[{"type":"function","name":"f"}])") +
            stream + "}");
    CHECK(tools.status == 400);
    CHECK(object_in(tools).at("error").at("message") ==
          "registry.ollama.ai/library/m:latest does not support tools");
  }
}
