// generate and chat over a real socket, with a tiny random model.
#include <chrono>
#include <thread>

#include "tests/server/api/server_fixture.h"
#include "tests/support/catch.h"

using namespace olx::tests;
namespace json = boost::json;

namespace {

constexpr const char* kTemplate = R"(,"template":"{{ if .System }}S:{{ .System }} {{ end }}U:{{ .Prompt }} A:")";

std::string rendered_by(const HttpAnswer& answer) {
  return std::string(object_in(answer).at("_debug_info").at("rendered_template").as_string());
}

}  // namespace

TEST_CASE("Generate_StreamsRecordsAndMetrics") {
  ServerFixture fixture;
  REQUIRE(fixture.create_tiny("m").status == 200);
  const HttpAnswer answer = fixture.post("/api/generate", R"({"MODEL":"m","prompt":"Hello","nothing":1,"system":null,
      "options":{"temperature":0,"num_predict":5,"unknown":"x"}})");
  REQUIRE(answer.status == 200);
  CHECK(answer.has_header("Content-Type: application/x-ndjson"));
  const auto records = lines_in(answer);
  CHECK(records.size() == answer.chunks.size());
  for (size_t i = 0; i + 1 < records.size(); ++i) CHECK(keys_of(records[i]) == "model created_at response done");
  const json::object& last = records.back();
  CHECK(keys_of(last).starts_with("model created_at response done done_reason context total_duration"));
  CHECK(last.at("response") == "");
  CHECK(last.at("eval_count").as_int64() <= 5);
  CHECK(last.at("prompt_eval_count").as_int64() >= 5);

  std::string text;
  for (const auto& record : records) text += record.at("response").as_string();
  const HttpAnswer whole = fixture.post("/api/generate", R"({"model":"m","prompt":"Hello","stream":false,
      "options":{"temperature":0,"num_predict":5}})");
  CHECK(whole.has_header("Content-Type: application/json; charset=utf-8"));
  CHECK(object_in(whole).at("response") == json::value(text));
  CHECK(object_in(whole).at("done") == json::value(true));
}

TEST_CASE("Generate_TemplatesSystemsAndRaw") {
  ServerFixture fixture;
  REQUIRE(fixture.create_tiny("m", std::string(kTemplate) + R"(,"system":"be kind")").status == 200);
  const auto rendered = [&](const std::string& more) {
    return rendered_by(fixture.post("/api/generate", R"({"model":"m","prompt":"hi","_debug_render_only":true)" + more + "}"));
  };
  CHECK(rendered("") == "S:be kind U:hi A:");
  CHECK(rendered(R"(,"system":"be short")") == "S:be short U:hi A:");
  CHECK(rendered(R"(,"system":"")") == "S:be kind U:hi A:");
  CHECK(rendered(R"(,"template":"[{{ .Prompt }}]")") == "[hi]");
  CHECK(rendered(R"(,"raw":true)") == "hi");
  const HttpAnswer raw = fixture.post("/api/generate", R"({"model":"m","prompt":"hi","raw":true,"stream":false,"options":{"num_predict":1}})");
  CHECK(!object_in(raw).contains("context"));
  CHECK(fixture.post("/api/generate", R"({"model":"m","prompt":"hi","raw":true,"system":"x"})").body ==
        R"({"error":"raw mode does not support template, system, or context"})");
}

TEST_CASE("Generate_FillsInTheMiddle") {
  ServerFixture fixture;
  REQUIRE(fixture.create_tiny("fim", R"(,"template":"{{ if .Suffix }}<P>{{ .Prompt }}<S>{{ .Suffix }}<M>{{ else }}{{ .Prompt }}{{ end }}")").status == 200);
  CHECK(rendered_by(fixture.post("/api/generate", R"({"model":"fim","prompt":"a","suffix":"b","_debug_render_only":true})")) == "<P>a<S>b<M>");
  REQUIRE(fixture.create_tiny("plain").status == 200);
  const HttpAnswer refused = fixture.post("/api/generate", R"({"model":"plain","prompt":"a","suffix":"b"})");
  CHECK(refused.status == 400);
  CHECK(refused.body == R"({"error":"registry.ollama.ai/library/plain:latest does not support insert"})");
}

TEST_CASE("Generate_AndChatRefuseInOllamasWords") {
  ServerFixture fixture;
  REQUIRE(fixture.create_tiny("m").status == 200);
  struct Row {
    const char* path;
    const char* body;
    int status;
    const char* error;
  };
  const Row rows[] = {
      {"/api/generate", "", 400, "missing request body"},
      {"/api/generate", "x", 400, "invalid character 'x' looking for beginning of value"},
      {"/api/generate", R"({"model":)", 400, "unexpected EOF"},
      {"/api/generate", R"({"model":1})", 400, "json: cannot unmarshal number into Go struct field GenerateRequest.model of type string"},
      {"/api/generate", "{}", 404, "model '' not found"},
      {"/api/chat", "{}", 400, "model is required"},
      {"/api/generate", R"({"model":"a b"})", 400, "invalid model name"},
      {"/api/generate", R"({"model":"none"})", 404, "model 'none' not found"},
      {"/api/chat", R"({"model":"none"})", 404, "model 'none' not found"},
      {"/api/generate", R"({"model":"m","prompt":"x","keep_alive":"300"})", 400, "time: missing unit in duration \"300\""},
      {"/api/generate", R"({"model":"m","prompt":"x","think":"x"})", 400, "invalid think value: \"x\" (must be \"high\", \"medium\", \"low\", \"max\", true, or false)"},
      {"/api/generate", R"({"model":"m","prompt":"x","think":true})", 400, "\"m\" does not support thinking"},
      {"/api/generate", R"({"model":"m","prompt":"x","top_logprobs":21})", 400, "top_logprobs must be between 0 and 20"},
      {"/api/generate", R"({"model":"m","prompt":"x","options":{"num_ctx":"a"}})", 500, "option \"num_ctx\" must be of type integer"},
      {"/api/generate", R"({"model":"m","prompt":"x","options":{"top_p":"a"}})", 500, "option \"top_p\" must be of type float32"},
      {"/api/generate", R"({"model":"m","prompt":"x","options":{"num_gpu":"a"}})", 500, "option \"num_gpu\" must be of type integer"},
      {"/api/generate", R"({"model":"m","prompt":"x","options":{"use_mmap":1}})", 500, "option \"use_mmap\" must be of type boolean"},
      {"/api/generate", R"({"model":"m","prompt":"x","options":{"stop":"a"}})", 500, "option \"stop\" must be of type array"},
      {"/api/generate", R"({"model":"m","prompt":"x","options":{"stop":[1]}})", 500, "option \"stop\" must be of an array of strings"},
      {"/api/chat", R"({"model":"m","messages":[{"role":"user","content":["x"]}]})", 400, "json: cannot unmarshal array into Go struct field Message.content of type string"},
      {"/api/chat", R"({"model":"m","messages":[{"role":"user","content":"x"}],"tools":[{"type":"function"}]})", 400, "registry.ollama.ai/library/m:latest does not support tools"},
      {"/api/chat", R"({"model":"m","messages":[{"role":"user","content":"x","images":["aaaa"]}]})", 400, "registry.ollama.ai/library/m:latest does not support vision"},
  };
  for (const Row& row : rows) {
    INFO(row.path << " " << row.body);
    const HttpAnswer answer = fixture.post(row.path, row.body);
    CHECK(answer.status == row.status);
    CHECK(object_in(answer).at("error") == row.error);
  }
  CHECK(fixture.post("/api/generate", R"({"model":"m","prompt":"x","format":{"not":{}}})").status == 400);
  CHECK(fixture.post("/api/generate", R"({"model":"m","prompt":"x","format":7})").status == 500);
}

TEST_CASE("Completion_LoadsAndUnloadsWithoutAPrompt") {
  ServerFixture fixture;
  REQUIRE(fixture.create_tiny("m").status == 200);
  CHECK(object_in(fixture.get("/api/ps")).at("models").as_array().empty());
  const json::object loaded = object_in(fixture.post("/api/generate", R"({"model":"m","keep_alive":-1})"));
  CHECK(keys_of(loaded) == "model created_at response done done_reason");
  CHECK(loaded.at("done_reason") == "load");
  const auto models = object_in(fixture.get("/api/ps")).at("models").as_array();
  REQUIRE(models.size() == 1);
  CHECK(keys_of(models[0].as_object()) == "name model size digest details expires_at size_vram context_length");
  CHECK(models[0].at("name") == "m:latest");
  CHECK(models[0].at("size_vram") == json::value(0));
  CHECK(models[0].at("context_length") == json::value(64));
  fixture.post("/api/chat", R"({"model":"m","options":{"num_ctx":32}})");
  CHECK(object_in(fixture.get("/api/ps")).at("models").at(0).at("context_length") == json::value(32));
  const json::object unloaded = object_in(fixture.post("/api/chat", R"({"model":"m","messages":[],"keep_alive":0})"));
  CHECK(unloaded.at("done_reason") == "unload");
  for (int i = 0; i < 200 && !object_in(fixture.get("/api/ps")).at("models").as_array().empty(); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  CHECK(object_in(fixture.get("/api/ps")).at("models").as_array().empty());
}

TEST_CASE("Chat_PutsSystemStoredAndSentMessagesInOrder") {
  ServerFixture fixture;
  constexpr const char* kJinja = "{% for m in messages %}{{ m.role }}={{ m.content }};{% endfor %}";
  REQUIRE(fixture.create_tiny("m", R"(,"system":"sys","messages":[{"role":"user","content":"old"}])", kJinja).status == 200);
  const auto rendered = [&](const std::string& messages) {
    return rendered_by(fixture.post("/api/chat", R"({"model":"m","_debug_render_only":true,"messages":)" + messages + "}"));
  };
  CHECK(rendered(R"([{"role":"User","content":"new"}])") == "system=sys;user=old;user=new;");
  const HttpAnswer answer = fixture.post("/api/chat", R"({"model":"m","messages":[{"role":"user","content":"x"}],"options":{"num_predict":3,"seed":1}})");
  const auto records = lines_in(answer);
  CHECK(keys_of(records.back()).starts_with("model created_at message done done_reason total_duration"));
  CHECK(keys_of(records.back().at("message").as_object()) == "role content");
}

TEST_CASE("Chat_LeavesOutTheOldestMessagesThatDoNotFit") {
  ServerFixture fixture(1, 64);
  constexpr const char* kJinja = "{% for m in messages %}{{ m.content }};{% endfor %}";
  REQUIRE(fixture.create_tiny("m", R"(,"system":"sys")", kJinja).status == 200);
  std::string messages = R"({"role":"user","content":"first"})";
  for (int i = 0; i < 30; ++i) messages += R"(,{"role":"user","content":"number )" + std::to_string(10 + i) + "\"}";
  const auto rendered = [&](const std::string& more) {
    return rendered_by(fixture.post("/api/chat", R"({"model":"m","_debug_render_only":true)" + more + R"(,"messages":[)" + messages + "]}"));
  };
  // 64 tokens of one character each: "sys;" and five times "number 39;".
  CHECK(rendered("") == "sys;number 34;number 35;number 36;number 37;number 38;number 39;");
  CHECK(rendered(R"(,"truncate":false)").size() > 300);
  const HttpAnswer refused = fixture.post("/api/chat", R"({"model":"m","truncate":false,"messages":[)" + messages + "]}");
  CHECK(refused.status == 400);
  const std::string long_prompt = R"({"model":"m","shift":false,"prompt":")" + std::string(200, 'x') + "\"}";
  CHECK(object_in(fixture.post("/api/generate", long_prompt)).at("error").as_string().starts_with("the prompt is longer than the context length"));
}

TEST_CASE("Completion_StopsAtStopTextsAndGivesLogprobs") {
  ServerFixture fixture;
  REQUIRE(fixture.create_tiny("m").status == 200);
  const std::string start = R"({"model":"m","prompt":"Hello","raw":true,"stream":false,"logprobs":true,"top_logprobs":2,"options":{"temperature":0,"num_predict":12)";
  const json::object answer = object_in(fixture.post("/api/generate", start + "}}"));
  const std::string text(answer.at("response").as_string());
  REQUIRE(text.size() > 4);
  const json::array& logprobs = answer.at("logprobs").as_array();
  CHECK(static_cast<int64_t>(logprobs.size()) == answer.at("eval_count").as_int64());
  CHECK(keys_of(logprobs[0].as_object()) == "token logprob bytes top_logprobs");
  CHECK(logprobs[0].at("top_logprobs").as_array().size() == 2);
  CHECK(answer.at("done_reason") == "length");
  const std::string stop = json::serialize(json::value(text.substr(2, 2)));
  const json::object stopped = object_in(fixture.post("/api/generate", start + R"(,"stop":[)" + stop + "]}}"));
  CHECK(stopped.at("done_reason") == "stop");
  CHECK(std::string(stopped.at("response").as_string()) == text.substr(0, text.find(text.substr(2, 2))));
}

TEST_CASE("Completion_EndsWhenTheClientLeaves", "[T-85]") {
  ServerFixture fixture(1, 64);
  REQUIRE(fixture.create_tiny("m").status == 200);
  const std::string body = R"({"model":"m","prompt":"Hello","options":{"num_predict":600,"stop":[]}})";
  const std::string request = "POST /api/generate HTTP/1.1\r\nHost: localhost\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
  for (int i = 0; i < 8; ++i) {
    HttpConnection connection(fixture.port());
    connection.send(request);
    if (i % 2 == 0) connection.peek_some();  // otherwise it leaves before the first token
  }
  const HttpAnswer after = fixture.post("/api/generate", R"({"model":"m","prompt":"x","stream":false,"options":{"num_predict":2}})");
  CHECK(after.status == 200);
  fixture.server().stop();
}

TEST_CASE("Completion_RunsRequestsSideBySide") {
  ServerFixture fixture(2);
  REQUIRE(fixture.create_tiny("m").status == 200);
  const auto ask = [&](const char* prompt) {
    return std::string(object_in(fixture.post("/api/generate", std::string(R"({"model":"m","stream":false,"options":{"temperature":0,"num_predict":30},"prompt":")") + prompt + "\"}")).at("response").as_string());
  };
  const std::string one = ask("abc"), two = ask("xyz");
  std::string one_again, two_again;
  std::jthread first([&] { one_again = ask("abc"); });
  std::jthread second([&] { two_again = ask("xyz"); });
  first.join();
  second.join();
  CHECK(one_again == one);
  CHECK(two_again == two);
}
