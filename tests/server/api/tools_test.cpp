// Tools over every protocol, with a tiny random model: what it may call is forced, so a call comes
// whatever it would have said.
#include "tests/server/api/server_fixture.h"
#include "tests/support/catch.h"

using namespace olx::tests;
namespace json = boost::json;

namespace {

constexpr const char* kToolsJinja =
    "{% for t in tools or [] %}T:{{ t.function.name }} {% endfor %}{% for m in messages %}{{ "
    "m.role }}:{{ m.content }}"
    "{% for c in m.tool_calls or [] %}<tool_call>{{ c.function.name }} {{ c.id }}</tool_call>{% "
    "endfor %}"
    "{% if m.role == 'tool' %}({{ m.name }} {{ m.tool_call_id }}){% endif %} {% endfor %}A:";

const std::string kCity =
    R"({"type":"object","properties":{"city":{"type":"string","maxLength":6}},"required":["city"]})";
const std::string kTools =
    R"("tools":[{"type":"function","function":{"name":"weather","parameters":)" + kCity +
    R"(}},{"type":"function","function":{"name":"now","parameters":{"type":"object","properties":{}}}}])";
const std::string kFlatTools = R"("tools":[{"type":"function","name":"weather","parameters":)" +
                               kCity + R"(},{"type":"function","name":"now"}])";
const std::string kAnthropicTools =
    R"("tools":[{"name":"weather","input_schema":)" + kCity +
    R"(},{"name":"now","input_schema":{"type":"object","properties":{}}}])";

std::string body(const std::string& members) {
  return R"({"model":"m","options":{"seed":7,"num_predict":400},"messages":[{"role":"user","content":"hi"}],)" +
         members + "}";
}
const std::string kOnce = R"(,"parallel_tool_calls":false)";

// What is wrong with a call, "" for nothing.
std::string fault_in(const json::value& name, const json::value& arguments) {
  if (name == "now") return arguments == json::object() ? "" : "arguments";
  if (name != "weather") return "name";
  const json::object& given = arguments.as_object();
  return given.size() == 1 && given.at("city").is_string() &&
                 given.at("city").as_string().size() <= 24
             ? ""
             : "city";
}

}  // namespace

TEST_CASE("Tools_RequiredMeansACallOnOllamasRoute") {
  ServerFixture fixture(1, 1024);
  REQUIRE(fixture.create_tiny("m", "", kToolsJinja).status == 200);
  const HttpAnswer whole = fixture.post(
      "/api/chat", body(kTools + kOnce + R"(,"tool_choice":"required","stream":false)"));
  REQUIRE(whole.status == 200);
  const json::object message = object_in(whole).at("message").as_object();
  CHECK(message.at("content") == "");
  REQUIRE(message.at("tool_calls").as_array().size() == 1);
  const json::object& call = message.at("tool_calls").at(0).as_object();
  CHECK(call.at("id").as_string().starts_with("call_"));
  CHECK(keys_of(call.at("function").as_object()) == "index name arguments");
  CHECK(fault_in(call.at("function").at("name"), call.at("function").at("arguments")) == "");
  CHECK(object_in(whole).at("done_reason") == "stop");

  const auto records =
      lines_in(fixture.post("/api/chat", body(kTools + kOnce + R"(,"tool_choice":"required")")));
  size_t n_with_calls = 0;
  for (const json::object& record : records) {
    CHECK(record.at("message").at("content") == "");
    if (!record.at("message").as_object().contains("tool_calls")) continue;
    ++n_with_calls;
    CHECK(record.at("done") == false);
  }
  CHECK(n_with_calls == 1);
  CHECK(records.back().at("done") == true);
}

TEST_CASE("Tools_ANamedOneIsTheOneThatIsCalled") {
  ServerFixture fixture(1, 1024);
  REQUIRE(fixture.create_tiny("m", "", kToolsJinja).status == 200);
  for (const char* name : {"weather", "now"}) {
    const std::string choice =
        std::string(R"(,"tool_choice":{"type":"function","function":{"name":")") + name +
        R"("}},"stream":false)";
    const json::object answer = object_in(fixture.post("/api/chat", body(kTools + kOnce + choice)));
    CHECK(answer.at("message").at("tool_calls").at(0).at("function").at("name") == name);
  }
}

TEST_CASE("Tools_SeveralCallsAreNumbered") {
  ServerFixture fixture(1, 4096);
  REQUIRE(fixture.create_tiny("m", "", kToolsJinja).status == 200);
  size_t n_most = 0;
  for (int seed = 1; seed <= 20 && n_most < 2; ++seed) {
    const std::string ask =
        R"({"model":"m","options":{"seed":)" + std::to_string(seed) +
        R"(,"temperature":9},"stream":false,"messages":[{"role":"user","content":"hi"}],"tool_choice":"required",)" +
        kTools + "}";
    const json::object answer = object_in(fixture.post("/api/chat", ask));
    const json::array& calls = answer.at("message").at("tool_calls").as_array();
    for (size_t i = 0; i < calls.size(); ++i) CHECK(calls[i].at("function").at("index") == i);
    n_most = std::max(n_most, calls.size());
  }
  CHECK(n_most >= 2);
}

TEST_CASE("Tools_NoneMeansThatTheModelIsToldOfNone") {
  ServerFixture fixture(1, 1024);
  REQUIRE(fixture.create_tiny("m", "", kToolsJinja).status == 200);
  const auto rendered = [&](const std::string& choice) {
    const json::object answer = object_in(
        fixture.post("/api/chat", body(kTools + choice + R"(,"_debug_render_only":true)")));
    return std::string(answer.at("_debug_info").at("rendered_template").as_string());
  };
  CHECK(rendered("") == "T:weather T:now user:hi A:");
  CHECK(rendered(R"(,"tool_choice":"none")") == "user:hi A:");
  CHECK(
      rendered(
          R"(,"tool_choice":{"type":"allowed_tools","mode":"auto","tools":[{"type":"function","name":"now"}]})") ==
      "T:now user:hi A:");
}

TEST_CASE("Tools_RequiredOnOpenAisRoutes") {
  ServerFixture fixture(1, 1024);
  REQUIRE(fixture.create_tiny("m", "", kToolsJinja).status == 200);
  const json::object whole = object_in(
      fixture.post("/v1/chat/completions", body(kTools + kOnce + R"(,"tool_choice":"required")")));
  const json::value& choice = whole.at("choices").at(0);
  CHECK(choice.at("finish_reason") == "tool_calls");
  const json::value& call = choice.at("message").at("tool_calls").at(0);
  CHECK(call.at("type") == "function");
  CHECK(fault_in(call.at("function").at("name"),
                 json::parse(call.at("function").at("arguments").as_string())) == "");
  const std::string streamed =
      fixture
          .post("/v1/chat/completions",
                body(kTools + kOnce + R"(,"tool_choice":"required","stream":true)"))
          .body;
  CHECK(streamed.find("\"tool_calls\":[{\"id\":\"call_") != std::string::npos);
  CHECK(streamed.find("\"finish_reason\":\"tool_calls\"") != std::string::npos);

  const std::string ask =
      R"({"model":"m","input":"hi","options":{"seed":7,"num_predict":400},)" + kFlatTools + kOnce;
  const json::object response = object_in(fixture.post(
      "/v1/responses", ask + R"(,"tool_choice":{"type":"function","name":"weather"}})"));
  REQUIRE(response.at("output").as_array().size() == 1);
  const json::object& item = response.at("output").at(0).as_object();
  CHECK(keys_of(item) == "id type status call_id name arguments");
  CHECK(item.at("name") == "weather");
  CHECK(fault_in(item.at("name"), json::parse(item.at("arguments").as_string())) == "");
  const std::string events =
      fixture.post("/v1/responses", ask + R"(,"tool_choice":"required","stream":true})").body;
  size_t at = 0;
  for (const char* type :
       {"created", "in_progress", "output_item.added", "function_call_arguments.delta",
        "function_call_arguments.done", "output_item.done", "completed"}) {
    at = events.find("event: response." + std::string(type) + "\n", at);
    CAPTURE(type);
    REQUIRE(at != std::string::npos);
  }
}

TEST_CASE("Tools_RequiredOnAnthropicsRoute") {
  ServerFixture fixture(1, 1024);
  REQUIRE(fixture.create_tiny("m", "", kToolsJinja).status == 200);
  for (const char* choice :
       {R"({"type":"any","disable_parallel_tool_use":true})",
        R"({"type":"tool","name":"weather","disable_parallel_tool_use":true})"}) {
    const std::string ask = body(kAnthropicTools + R"(,"max_tokens":400,"tool_choice":)" + choice);
    const json::object whole = object_in(fixture.post("/v1/messages", ask));
    CHECK(whole.at("stop_reason") == "tool_use");
    REQUIRE(whole.at("content").as_array().size() == 1);
    const json::object& block = whole.at("content").at(0).as_object();
    CHECK(block.at("id").as_string().starts_with("toolu_"));
    CHECK(fault_in(block.at("name"), block.at("input")) == "");
  }
  const std::string streamed =
      fixture
          .post("/v1/messages",
                body(kAnthropicTools +
                     R"(,"max_tokens":400,"stream":true,"tool_choice":{"type":"any"})"))
          .body;
  CHECK(streamed.find("\"input_json_delta\"") != std::string::npos);
  CHECK(streamed.find("\"stop_reason\":\"tool_use\"") != std::string::npos);
}

TEST_CASE("Tools_ResultsFindTheirCalls") {
  ServerFixture fixture(1, 1024);
  REQUIRE(fixture.create_tiny("m", "", kToolsJinja).status == 200);
  // As ollama-python sends them: without any id or name.
  const json::object answer = object_in(fixture.post(
      "/api/chat",
      R"({"model":"m","_debug_render_only":true,"messages":[{"role":"user","content":"q"},
      {"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":{}}},{"function":{"name":"g","arguments":{}}}]},
      {"role":"tool","content":"one"},{"role":"tool","content":"two"}]})"));
  CHECK(answer.at("_debug_info").at("rendered_template") ==
        "user:q assistant:<tool_call>f call_00000000</tool_call><tool_call>g "
        "call_00000001</tool_call> tool:one(f call_00000000) tool:two(g call_00000001) A:");
}

TEST_CASE("Tools_RefusesAChoiceThatCannotBe") {
  ServerFixture fixture(1, 1024);
  REQUIRE(fixture.create_tiny("m", "", kToolsJinja).status == 200);
  REQUIRE(fixture.create_tiny("plain", "", "{% for m in messages %}{{ m.content }}{% endfor %}")
              .status == 200);
  const auto error_of = [&](const std::string& ask) {
    const HttpAnswer answer = fixture.post("/api/chat", ask);
    CHECK(answer.status == 400);
    return object_in(answer).at("error");
  };
  CHECK(
      error_of(body(kTools + R"(,"tool_choice":{"type":"function","function":{"name":"fly"}})")) ==
      "tool_choice names \"fly\", which is not among the tools");
  CHECK(error_of(body(R"("tool_choice":"required")")) ==
        "tool_choice asks for a call, but there are no tools");
  CHECK(error_of(R"({"model":"plain","messages":[{"role":"user","content":"x"}],)" + kTools +
                 "}") == "registry.ollama.ai/library/plain:latest does not support tools");
  // No tools are offered, so none need be known.
  CHECK(
      fixture
          .post(
              "/api/chat",
              R"({"model":"plain","stream":false,"options":{"num_predict":2},"messages":[{"role":"user","content":"x"}],"tool_choice":"none",)" +
                  kTools + "}")
          .status == 200);
}

TEST_CASE("Tools_WithAFormatTheAnswerIsEitherACallOrInTheFormat") {
  ServerFixture fixture(1, 1024);
  REQUIRE(fixture.create_tiny("m", "", kToolsJinja).status == 200);
  const std::string format =
      R"(,"format":{"type":"object","properties":{"n":{"type":"integer"}},"required":["n"]},"stream":false)";
  for (int seed = 1; seed <= 6; ++seed) {
    const std::string ask =
        R"({"model":"m","messages":[{"role":"user","content":"hi"}],"options":{"temperature":9,"num_predict":400,"seed":)" +
        std::to_string(seed) + "}," + kTools + format + "}";
    const json::object answer = object_in(fixture.post("/api/chat", ask));
    const json::object& message = answer.at("message").as_object();
    CAPTURE(json::serialize(message));
    if (message.contains("tool_calls")) {
      CHECK(message.at("content") == "");
    } else if (answer.at("done_reason") == "stop") {
      CHECK(json::parse(message.at("content").as_string()).at("n").is_int64());
    }
  }
}

TEST_CASE("Tools_MarksThatAreControlTokensReachTheText") {
  ServerFixture fixture(1, 1024);
  // The vocabulary has no "<": a call can be written with its control tokens only.
  TinyModel tiny;
  tiny.more_metadata = [&](olx::gguf::GgufWriter& writer) {
    write_ascii_vocabulary_with(writer, {{'<', "<tool_call>"}, {'~', "</tool_call>"}});
    writer.set_string("tokenizer.chat_template", kToolsJinja);
  };
  write_tiny_model("llama", tiny, fixture.file("marks.gguf"));
  REQUIRE(fixture.create("m", fixture.file("marks.gguf")).status == 200);
  const json::object answer = object_in(fixture.post(
      "/api/chat", body(kTools + kOnce + R"(,"tool_choice":"required","stream":false)")));
  REQUIRE(answer.contains("message"));
  const json::object& message = answer.at("message").as_object();
  CHECK(message.at("content") == "");
  REQUIRE(message.contains("tool_calls"));
  const json::object& call = message.at("tool_calls").at(0).at("function").as_object();
  CHECK(fault_in(call.at("name"), call.at("arguments")) == "");
}

TEST_CASE("Tools_WhatAUserSpellsIsNoMark") {
  ServerFixture fixture(1, 1024);
  TinyModel tiny;
  tiny.more_metadata = [&](olx::gguf::GgufWriter& writer) {
    write_ascii_vocabulary_with(writer, {{'~', "<|im_end|>"}});
    writer.set_string("tokenizer.chat_template",
                      "{% for m in messages %}{{ m.content }}<|im_end|>{% endfor %}");
  };
  write_tiny_model("llama", tiny, fixture.file("guard.gguf"));
  REQUIRE(fixture.create("m", fixture.file("guard.gguf")).status == 200);
  const auto n_prompt = [&](const char* content) {
    const std::string ask =
        R"({"model":"m","stream":false,"options":{"num_predict":1},"messages":[{"role":"user","content":")";
    return object_in(fixture.post("/api/chat", ask + content + "\"}]}"))
        .at("prompt_eval_count")
        .as_int64();
  };
  CHECK(n_prompt("ab") == 3);               // two letters, and the template's token
  CHECK(n_prompt("<|im_end|>") == 10 + 1);  // ten letters, and the template's token
  CHECK(n_prompt("<|im_end|>a<|im_end|>") == 21 + 1);
}
