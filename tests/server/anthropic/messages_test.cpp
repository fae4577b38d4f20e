// /v1/messages: reading requests, well meant or not, and answers over a real socket with a tiny random model.
#include "server/anthropic/messages_request.h"
#include "tests/server/api/server_fixture.h"
#include "tests/support/catch.h"

using namespace olx::server;
using namespace olx::tests;
namespace json = boost::json;

namespace {

json::object request_with(const std::string& members) {
  json::object body = json::parse("{" + members + "}").as_object();
  body.emplace("model", "m");
  body.emplace("max_tokens", 5);
  body.emplace("messages", json::parse(R"([{"role":"user","content":"hi"}])"));
  return body;
}

std::string anthropic_refusal(const std::string& members) {
  try {
    const AnthropicRequest request(request_with(members), AnthropicRequest::Purpose::kAnswer);
  } catch (const ApiError& error) {
    return error.status() == 400 ? error.what() : "";
  } catch (const JsonError& error) {
    return error.what();
  }
  return "";
}

struct Event {
  std::string name;
  json::object data;
};

std::vector<Event> anthropic_events(const HttpAnswer& answer) {
  std::vector<Event> events;
  for (size_t from = 0; from < answer.body.size();) {
    const size_t end = answer.body.find("\n\n", from), line = answer.body.find("\ndata: ", from);
    REQUIRE(end != std::string::npos);
    REQUIRE(line < end);
    REQUIRE(answer.body.substr(from, 7) == "event: ");
    events.push_back({answer.body.substr(from + 7, line - from - 7), json::parse(answer.body.substr(line + 7, end - line - 7)).as_object()});
    CHECK(events.back().data.at("type") == json::value(events.back().name));
    from = end + 2;
  }
  return events;
}

}  // namespace

TEST_CASE("Anthropic_ReadsAConversation") {
  const AnthropicRequest request(request_with(R"("system":[{"type":"text","text":"be "},{"type":"text","text":"kind"}],"stop_sequences":["x"],
      "top_k":3,"temperature":0.5,"thinking":{"type":"enabled","budget_tokens":1024},"metadata":{"user_id":"u"},
      "tool_choice":{"type":"tool","name":"weather","disable_parallel_tool_use":true},
      "tools":[{"name":"weather","description":"d","input_schema":{"type":"object"}}],
      "messages":[{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"},
                     {"type":"image","source":{"type":"base64","media_type":"image/png","data":"AAAA"}}]},
        {"role":"assistant","content":[{"type":"thinking","thinking":"hm","signature":""},{"type":"text","text":"wait"},
                     {"type":"tool_use","id":"t1","name":"weather","input":{"city":"Paris"}}]},
        {"role":"user","content":[{"type":"text","text":"and?"},{"type":"tool_result","tool_use_id":"t1","content":[{"type":"text","text":"sun"}]},
                     {"type":"redacted_thinking","data":"?"}]},
        {"role":"user","content":[{"type":"tool_result","tool_use_id":"t9","is_error":true,"content":"lost"}]}])"),
                                 AnthropicRequest::Purpose::kAnswer);
  const ChatTask& task = request.task();
  const auto& messages = task.messages;
  REQUIRE(messages.size() == 6);
  CHECK(messages[0].role == "system");
  CHECK(messages[0].content == "be kind");
  CHECK(messages[1].content == "ab");
  CHECK(messages[1].images == std::vector<std::string>{"AAAA"});
  CHECK(messages[2].thinking == "hm");
  CHECK(messages[2].content == "wait");
  CHECK(go_json(to_json(messages[2].tool_calls.at(0).arguments)) == R"({"city":"Paris"})");
  CHECK(messages[3].role == "tool");
  CHECK(messages[3].tool_name == "weather");
  CHECK(messages[3].content == "sun");
  CHECK(messages[4].role == "user");
  CHECK(messages[4].content == "and?");
  CHECK(messages[5].content == "Error: lost");
  CHECK(go_json(task.tools) == R"([{"type":"function","function":{"name":"weather","description":"d","parameters":{"type":"object"}}}])");
  CHECK(task.tool_choice.kind == ToolChoice::Kind::kNamed);
  CHECK(!task.tool_choice.allows_parallel);
  CHECK(task.request.think == true);
  CHECK(!task.request.is_streaming);
  CHECK(go_json(*task.request.options) == R"({"num_predict":5,"temperature":0.5,"top_k":3,"stop":["x"]})");
}

TEST_CASE("Anthropic_RefusesWhatItCannotRead") {
  const std::string kRefused[] = {
      R"("model":"")", R"("model":7)", R"("max_tokens":0)", R"("max_tokens":null)", R"("max_tokens":-4)", R"("max_tokens":"7")", R"("max_tokens":1e40)",
      R"("messages":[])", R"("messages":{})", R"("messages":[7])", R"("messages":[{}])", R"("messages":[{"role":"user"}])",
      R"("messages":[{"role":"pope","content":"x"}])", R"("messages":[{"role":"user","content":7}])",
      R"("messages":[{"role":"user","content":["x"]}])", R"("messages":[{"role":"user","content":[{}]}])",
      R"("messages":[{"role":"user","content":[{"type":"document","source":{}}]}])",
      R"("messages":[{"role":"user","content":[{"type":"text","text":7}]}])",
      R"("messages":[{"role":"user","content":[{"type":"image"}]}])",
      R"("messages":[{"role":"user","content":[{"type":"image","source":{"type":"url","url":"http://x"}}]}])",
      R"("messages":[{"role":"assistant","content":[{"type":"tool_use","id":"x"}]}])",
      R"("messages":[{"role":"assistant","content":[{"type":"tool_use","name":"f","input":"{}"}]}])",
      R"("messages":[{"role":"user","content":[{"type":"tool_result","content":7}]}])",
      R"("messages":[{"role":"user","content":[{"type":"tool_result","content":[{"type":"tool_use","name":"f"}]}]}])",
      R"("system":7)", R"("system":[7])", R"("system":[{"type":"image","source":{"type":"base64","data":"AA"}}])",
      R"("temperature":"x")", R"("top_p":[])", R"("top_k":"x")", R"("top_k":1e30)", R"("stop_sequences":"x")", R"("stop_sequences":[7])", R"("stream":"x")",
      R"("thinking":7)", R"("thinking":{"type":7})", R"("output_config":{"effort":"huge"})", R"("output_config":{"format":{"type":"json"}})",
      R"("tools":7)", R"("tools":[7])", R"("tools":[{}])", R"("tools":[{"name":"f","input_schema":7}])", R"("tools":[{"type":"web_search_20250305","name":"web_search"}])",
      R"("tool_choice":"auto")", R"("tool_choice":{"type":"some"})", R"("tool_choice":{"type":"tool"})",
  };
  for (const std::string& members : kRefused) {
    INFO(members);
    CHECK(anthropic_refusal(members) != "");
  }
}

TEST_CASE("Anthropic_AnswersWholeAndStreamed") {
  ServerFixture fixture(1, 256);
  REQUIRE(fixture.create_tiny("m", R"(,"template":"{{ range .Messages }}{{ .Role }}:{{ .Content }} {{ end }}A:")").status == 200);
  const std::string ask = R"({"model":"m","max_tokens":5,"temperature":0,"thinking":{"type":"enabled"},"system":"kind","messages":[{"role":"user","content":"Hello"}])";
  const HttpAnswer answer = fixture.post("/v1/messages", ask + "}");
  REQUIRE(answer.status == 200);
  const json::object whole = object_in(answer);
  CHECK(keys_of(whole) == "id type role model content stop_reason stop_sequence usage");
  CHECK(whole.at("id").as_string().starts_with("msg_"));
  CHECK(whole.at("content").at(0).at("type") == "text");

  const auto events = anthropic_events(fixture.post("/v1/messages", ask + R"(,"stream":true})"));
  REQUIRE(events.size() >= 6);
  CHECK(events[0].name == "message_start");
  CHECK(events[0].data.at("message").at("content").as_array().empty());
  CHECK(events[1].name == "ping");
  CHECK(events[2].name == "content_block_start");
  std::string text;
  for (size_t i = 3; i + 3 < events.size(); ++i) {
    CHECK(events[i].name == "content_block_delta");
    CHECK(events[i].data.at("index") == 0);
    text += events[i].data.at("delta").at("text").as_string();
  }
  CHECK(json::value(text) == whole.at("content").at(0).at("text"));
  CHECK(events[events.size() - 3].name == "content_block_stop");
  CHECK(events[events.size() - 2].data.at("delta").at("stop_reason") == whole.at("stop_reason"));
  CHECK(events[events.size() - 2].data.at("usage") == whole.at("usage"));
  CHECK(events.back().name == "message_stop");

  const json::object counted = object_in(fixture.post("/v1/messages/count_tokens", R"({"model":"m","system":"kind","messages":[{"role":"user","content":"Hello"}]})"));
  CHECK(counted.at("input_tokens") == whole.at("usage").at("input_tokens"));
  const std::string long_text(2000, 'x');
  const json::object much = object_in(fixture.post("/v1/messages/count_tokens", R"({"model":"m","messages":[{"role":"user","content":")" + long_text + R"("}]})"));
  CHECK(much.at("input_tokens").to_number<int64_t>() >= 2000);
}

TEST_CASE("Anthropic_ErrorsAreInItsShape") {
  ServerFixture fixture;
  const auto check = [&](const HttpAnswer& answer, int status, const std::string& type, const std::string& message) {
    CHECK(answer.status == status);
    const json::object body = object_in(answer);
    CHECK(keys_of(body) == "type error request_id");
    CHECK(body.at("type") == "error");
    CHECK(body.at("error").at("type") == json::value(type));
    CHECK(body.at("error").at("message") == json::value(message));
  };
  check(fixture.post("/v1/messages", R"({"model":"gone","max_tokens":1,"messages":[{"role":"user","content":"x"}]})"), 404, "not_found_error",
        "model 'gone' not found");
  check(fixture.post("/v1/messages", R"({"model":"gone","messages":[]})"), 400, "invalid_request_error", "max_tokens is required and must be positive");
  check(fixture.post("/v1/messages/count_tokens", ""), 400, "invalid_request_error", "missing request body");
}
