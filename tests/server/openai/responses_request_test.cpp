// Requests of /v1/responses: what they mean, and what is said of those that mean nothing.
#include "server/openai/responses_request.h"

#include <boost/json.hpp>

#include "tests/support/catch.h"

using namespace olx::server;
namespace json = boost::json;

namespace {

json::object body_with(const std::string& members) {
  json::object body = json::parse("{" + members + "}").as_object();
  if (!body.contains("model")) body["model"] = "m";
  return body;
}

std::string responses_refusal(const std::string& members) {
  try {
    const ResponsesRequest request(body_with(members));
  } catch (const ApiError& error) {
    CHECK(error.status() == 400);
    return error.what();
  } catch (const JsonError& error) {
    return error.what();
  }
  return "";
}

// role[thinking]content{id name arguments}(tool id) for each message.
std::string told(const std::string& members) {
  const ResponsesRequest request(body_with(members));
  std::string out;
  for (const olx::engine::ChatMessage& message : request.task().messages) {
    out += message.role + ":";
    if (!message.thinking.empty()) out += "[" + message.thinking + "]";
    out += message.content;
    for (const olx::engine::ToolCall& call : message.tool_calls)
      out += "{" + call.id + " " + call.name + " " + go_json(to_json(call.arguments)) + "}";
    if (message.role == "tool") out += "(" + message.tool_name + " " + message.tool_call_id + ")";
    for (const std::string& image : message.images) out += "<" + image + ">";
    out += "|";
  }
  return out;
}

}  // namespace

TEST_CASE("ResponsesRequest_ReadsTheInput") {
  CHECK(told(R"("input":"hi")") == "user:hi|");
  CHECK(told(R"("input":"hi","instructions":"be kind")") == "system:be kind|user:hi|");
  CHECK(
      told(
          R"("input":[{"role":"user","content":"a"},{"type":"message","role":"developer","content":[{"type":"input_text","text":"b"},
      {"type":"output_text","text":"c"}]}])") == "user:a|system:b\nc|");
  CHECK(
      told(
          R"("input":[{"role":"user","content":[{"type":"input_image","image_url":"data:image/png;base64,AAAA"},{"type":"input_image","file_id":"f"}]}])") ==
      "user:<AAAA>|");
}

TEST_CASE("ResponsesRequest_JoinsTheCallsOfOneTurn") {
  CHECK(
      told(
          R"("input":[{"role":"user","content":"q"},{"type":"reasoning","id":"r","summary":[],"encrypted_content":"hm"},
      {"type":"function_call","call_id":"1","name":"f","arguments":"{\"a\":1}"},{"type":"function_call","call_id":"2","name":"g","arguments":""},
      {"type":"function_call_output","call_id":"2","output":"two"},{"type":"function_call_output","call_id":"1","output":[{"type":"input_text","text":"one"}]},
      {"type":"web_search_call","id":"w"},{"role":"user","content":"and?"}])") ==
      R"(user:q|assistant:[hm]{1 f {"a":1}}{2 g {}}|tool:two(g 2)|tool:one(f 1)|user:and?|)");
  CHECK(
      told(
          R"("input":[{"role":"assistant","content":"wait"},{"type":"reasoning","summary":[{"type":"summary_text","text":"hm"}]},
      {"type":"function_call","call_id":"1","name":"f","arguments":"{}"}])") ==
      "assistant:[hm]wait{1 f {}}|");
}

TEST_CASE("ResponsesRequest_ReadsToolsAndSettings") {
  const ResponsesRequest request(body_with(
      R"("input":"hi","max_output_tokens":7,"reasoning":{"effort":"low"},"parallel_tool_calls":false,
      "tool_choice":{"type":"function","name":"f"},"include":["message.output_text.logprobs"],"top_logprobs":2,
      "tools":[{"type":"function","name":"f","description":"d","strict":true,"parameters":{"type":"object"}},
               {"type":"namespace","name":"ns","tools":[{"type":"function","name":"g"}]}])"));
  const ChatTask& task = request.task();
  CHECK(
      json::serialize(task.tools) ==
      R"([{"type":"function","function":{"name":"f","description":"d","parameters":{"type":"object"},"strict":true}},)"
      R"({"type":"function","function":{"name":"ns.g"}}])");
  CHECK(task.tool_choice.name == "f");
  CHECK_FALSE(task.tool_choice.allows_parallel);
  CHECK(task.request.think_level == "low");
  CHECK(task.request.n_logprobs == 2);
  CHECK_FALSE(task.request.is_streaming);
  CHECK(task.request.options->at("num_predict") == 7);
  CHECK(task.request.options->at("temperature") == 1.0);
  CHECK(!task.request.options->contains("top_p"));
  CHECK(request.echo().at("max_output_tokens") == 7);
  CHECK(request.echo().at("reasoning").at("effort") == "low");
  CHECK(request.echo().at("text").at("format").at("type") == "text");
}

TEST_CASE("ResponsesRequest_SaysWhatIsWrong") {
  CHECK(responses_refusal(R"("model":"","input":"x")") == "model is required");
  CHECK(responses_refusal("") == "input is required");
  CHECK(responses_refusal(R"("input":[],"instructions":"x")") == "input is required");
  CHECK(responses_refusal(R"("input":7)") == "input must be a string or an array");
  CHECK(responses_refusal(R"("input":[{"role":"user","content":"a"},{"type":"computer_call"}])") ==
        "input[1]: unknown input item type: \"computer_call\"");
  CHECK(responses_refusal(R"("input":[{"content":"a"}])") ==
        "input[0]: input item missing required 'type' field");
  CHECK(responses_refusal(R"("input":[7])") == "input[0]: input item must be an object");
  CHECK(responses_refusal(R"("input":[{"role":"user","content":[{"type":"input_file"}]}])") ==
        "input[0]: file inputs are not currently supported");
  CHECK(responses_refusal(R"("input":[{"role":"user","content":[{"type":"smell"}]}])") ==
        "input[0]: unknown content type: smell");
  CHECK(responses_refusal(R"("input":[{"type":"function_call","name":"f","arguments":"["}])") ==
        "input[0]: invalid tool call arguments");
  CHECK(responses_refusal(R"("input":[{"role":"wizard","content":"a"}])")
            .starts_with("input[0]: invalid role"));
  CHECK(responses_refusal(R"("input":"x","tools":[{"type":"web_search"}])") ==
        "tools of type \"web_search\" are not supported");
  CHECK(responses_refusal(R"("input":"x","tools":[{"type":"function"}])") == "a tool needs a name");
}
