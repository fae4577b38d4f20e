// Chat requests as OpenAI's clients, and those who mean harm, write them.
#include <boost/json.hpp>

#include "server/openai/chat_request.h"
#include "server/openai/translate.h"
#include "tests/support/catch.h"

using namespace olx::server;
namespace json = boost::json;

namespace {

// The request with more members; "messages" is there unless given.
json::object request_with(const std::string& members) {
  json::object body = json::parse("{" + members + "}").as_object();
  body.emplace("model", "m");
  body.emplace("messages", json::parse(R"([{"role":"user","content":"hi"}])"));
  return body;
}

std::string chat_refusal(const std::string& members) {
  try {
    const OpenAiChatRequest request(request_with(members));
  } catch (const ApiError& error) {
    return error.status() == 400 ? error.what() : "not a 400: " + std::string(error.what());
  } catch (const JsonError& error) {
    return error.what();
  }
  return "";
}

std::string option(const std::string& members, std::string_view name) {
  const OpenAiChatRequest request(request_with(members));
  const json::value* value = request.task().request.options->if_contains(name);
  return value ? go_json(*value) : "absent";
}

}  // namespace

TEST_CASE("OpenAiChat_MapsFieldsToOllamasOptions") {
  CHECK(option("", "temperature") == "1");
  CHECK(option("", "top_p") == "1");
  CHECK(option(R"("temperature":null)", "temperature") == "1");
  CHECK(option(R"("temperature":0.25)", "temperature") == "0.25");
  CHECK(option("", "num_predict") == "absent");
  CHECK(option(R"("max_tokens":7)", "num_predict") == "7");
  CHECK(option(R"("max_tokens":7,"max_completion_tokens":9)", "num_predict") == "9");
  CHECK(option(R"("seed":4)", "seed") == "4");
  CHECK(option(R"("frequency_penalty":0.5)", "frequency_penalty") == "0.5");
  CHECK(option(R"("presence_penalty":-1)", "presence_penalty") == "-1");
  CHECK(option(R"("stop":"x")", "stop") == R"(["x"])");
  CHECK(option(R"("stop":["x","y"])", "stop") == R"(["x","y"])");
  CHECK(option(R"("options":{"num_ctx":99,"temperature":0})", "num_ctx") == "99");
  CHECK(option(R"("options":{"num_ctx":99,"temperature":0})", "temperature") == "0");
  CHECK(option(R"("options":{"temperature":0},"temperature":2)", "temperature") == "2");
}

TEST_CASE("OpenAiChat_ReadsWhatIsAsked") {
  const OpenAiChatRequest plain(request_with(""));
  CHECK(!plain.task().request.is_streaming);
  CHECK(!plain.includes_usage());
  CHECK(plain.n_choices() == 1);
  CHECK(plain.task().request.n_logprobs == -1);
  CHECK(plain.task().request.think == std::nullopt);

  const OpenAiChatRequest full(request_with(R"("stream":true,"stream_options":{"include_usage":true},"n":3,"logprobs":true,
      "top_logprobs":2,"reasoning_effort":"minimal","keep_alive":"5m","parallel_tool_calls":false,"user":"x","logit_bias":{},
      "tool_choice":{"type":"function","function":{"name":"f"}},"tools":[{"type":"function","function":{"name":"f"}}])"));
  CHECK(full.task().request.is_streaming);
  CHECK(full.includes_usage());
  CHECK(full.n_choices() == 3);
  CHECK(full.task().request.n_logprobs == 2);
  CHECK(full.task().request.think_level == "low");
  CHECK(full.task().request.keep_alive_ns == 300'000'000'000);
  CHECK(full.task().tools.size() == 1);
  CHECK(full.task().tool_choice.kind == ToolChoice::Kind::kNamed);
  CHECK(full.task().tool_choice.name == "f");
  CHECK(!full.task().tool_choice.allows_parallel);
  CHECK(OpenAiChatRequest(request_with(R"("reasoning":{"effort":"none"})")).task().request.think == false);
  CHECK(OpenAiChatRequest(request_with(R"("tool_choice":"none")")).task().tool_choice.kind == ToolChoice::Kind::kNone);
  CHECK(OpenAiChatRequest(request_with(R"("tool_choice":"required")")).task().tool_choice.kind == ToolChoice::Kind::kRequired);
  CHECK(chat_refusal(R"("response_format":{"type":"text"})") == "");
}

TEST_CASE("OpenAiChat_ReadsMessages") {
  const OpenAiChatRequest request(request_with(R"("messages":[
      {"role":"developer","content":"be kind"},
      {"role":"user","content":[{"type":"text","text":"one"},{"type":"text","text":"two"},
          {"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}},{"type":"image_url","image_url":"data:;base64,BB=="}]},
      {"role":"assistant","content":null,"reasoning":"hm","tool_calls":[
          {"id":"c1","type":"function","function":{"name":"weather","arguments":"{\"city\":\"Paris\"}"}},
          {"id":"c2","type":"function","function":{"name":"time","arguments":""}}]},
      {"role":"tool","tool_call_id":"c2","content":"noon"},
      {"role":"tool","tool_call_id":"c9","content":[{"type":"text","text":"lost"}]}])"));
  const auto& messages = request.task().messages;
  REQUIRE(messages.size() == 5);
  CHECK(messages[0].role == "system");
  CHECK(messages[1].content == "one\ntwo");
  CHECK(messages[1].images == std::vector<std::string>{"AAAA", "BB=="});
  CHECK(messages[2].content.empty());
  CHECK(messages[2].thinking == "hm");
  REQUIRE(messages[2].tool_calls.size() == 2);
  CHECK(messages[2].tool_calls[0].name == "weather");
  CHECK(go_json(to_json(messages[2].tool_calls[0].arguments)) == R"({"city":"Paris"})");
  CHECK(go_json(to_json(messages[2].tool_calls[1].arguments)) == "{}");
  CHECK(messages[3].tool_name == "time");
  CHECK(messages[3].content == "noon");
  CHECK(messages[4].tool_name.empty());
  CHECK(messages[4].content == "lost");
}

TEST_CASE("OpenAiChat_RefusesWhatItCannotRead") {
  const std::string kRefused[] = {
      R"("model":"")", R"("model":7)", R"("model":null)", R"("model":["m"])",
      R"("messages":[])", R"("messages":{})", R"("messages":"hi")", R"("messages":[7])", R"("messages":[null])", R"("messages":[[]])",
      R"("messages":[{}])", R"("messages":[{"role":"user"}])", R"("messages":[{"role":"pope","content":"x"}])",
      R"("messages":[{"role":7,"content":"x"}])", R"("messages":[{"role":"","content":"x"}])",
      R"("messages":[{"role":"user","content":7}])", R"("messages":[{"role":"user","content":{}}])",
      R"("messages":[{"role":"user","content":["x"]}])", R"("messages":[{"role":"user","content":[{"type":"text"}]}])",
      R"("messages":[{"role":"user","content":[{"type":"text","text":7}]}])", R"("messages":[{"role":"user","content":[{"type":7}]}])",
      R"("messages":[{"role":"user","content":[{"type":"input_audio","input_audio":{}}]}])",
      R"("messages":[{"role":"user","content":[{"type":"image_url"}]}])",
      R"("messages":[{"role":"user","content":[{"type":"image_url","image_url":7}]}])",
      R"("messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"http://x/y.png"}}]}])",
      R"("messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"file:///etc/passwd"}}]}])",
      R"("messages":[{"role":"assistant","tool_calls":[7]}])", R"("messages":[{"role":"assistant","tool_calls":[{}]}])",
      R"("messages":[{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":{}}}]}])",
      R"("messages":[{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":"[]"}}]}])",
      R"("messages":[{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":"{"}}]}])",
      R"("temperature":"hot")", R"("temperature":[1])", R"("top_p":{})", R"("frequency_penalty":"x")", R"("presence_penalty":true)",
      R"("max_tokens":"7")", R"("max_tokens":1e300)", R"("max_completion_tokens":{})", R"("seed":"x")",
      R"("stop":7)", R"("stop":{})", R"("stop":[7])", R"("stop":["x",null])",
      R"("n":0)", R"("n":-1)", R"("n":129)", R"("n":9223372036854775807)", R"("n":1e99)", R"("n":"2")", R"("n":1.5)",
      R"("stream":"yes")", R"("stream":1)", R"("stream_options":7)", R"("stream_options":{"include_usage":"x"})",
      R"("logprobs":1)", R"("logprobs":true,"top_logprobs":21)", R"("top_logprobs":-1)", R"("top_logprobs":"x")",
      R"("reasoning_effort":"huge")", R"("reasoning_effort":7)", R"("reasoning":"x")", R"("reasoning":{"effort":7})",
      R"("response_format":"json")", R"("response_format":{})", R"("response_format":{"type":"xml"})",
      R"("response_format":{"type":"json_schema"})", R"("response_format":{"type":"json_schema","json_schema":{"schema":"x"}})",
      R"("tools":{})", R"("tools":[7])", R"("tools":[{}])", R"("tools":[{"type":"web","function":{}}])", R"("tools":[{"type":"function","function":7}])",
      R"("tool_choice":"sometimes")", R"("tool_choice":7)", R"("tool_choice":{})", R"("tool_choice":{"type":"function"})",
      R"("tool_choice":{"type":"function","function":{"name":""}})", R"("parallel_tool_calls":"x")",
      R"("options":[])", R"("keep_alive":{})", R"("keep_alive":"soon")",
  };
  for (const std::string& members : kRefused) {
    INFO(members);
    CHECK(chat_refusal(members) != "");
  }
}
