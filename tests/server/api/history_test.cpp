// What earlier turns are made to say: which call a result belongs to, thinking that is left out,
// ids of a form.
#include "server/api/history.h"

#include "tests/support/catch.h"

using namespace olx;
using namespace olx::server;
using engine::ChatMessage;
using engine::ToolCall;

namespace {

ChatMessage calls(std::vector<ToolCall> list) {
  return {.role = "assistant", .tool_calls = std::move(list)};
}
ChatMessage result(std::string content, std::string name = "", std::string id = "") {
  return {.role = "tool",
          .content = std::move(content),
          .tool_name = std::move(name),
          .tool_call_id = std::move(id)};
}
ToolCall call(std::string name, std::string id = "") {
  return {.id = std::move(id), .name = std::move(name)};
}

std::string results_of(const std::vector<ChatMessage>& messages) {
  std::string out;
  for (const ChatMessage& message : messages)
    if (message.role == "tool")
      out += message.content + ":" + message.tool_name + "/" + message.tool_call_id + " ";
  return out;
}

std::string completed(std::vector<ChatMessage> messages) {
  complete_history(messages, {});
  return results_of(messages);
}

}  // namespace

TEST_CASE("History_FindsTheCallOfAResult") {
  const ChatMessage two = calls({call("f", "1"), call("g", "2")});
  CHECK(completed({two, result("b", "", "2"), result("a", "", "1")}) == "b:g/2 a:f/1 ");
  CHECK(completed({two, result("b", "g"), result("a", "f")}) == "b:g/2 a:f/1 ");
  CHECK(completed({two, result("a"), result("b")}) == "a:f/1 b:g/2 ");
  // Two calls of one tool: each result is another's.
  CHECK(completed({calls({call("f", "1"), call("f", "2")}), result("a", "f"), result("b", "f")}) ==
        "a:f/1 b:f/2 ");
  // An id of an earlier turn, an id nobody has, more results than calls.
  CHECK(completed({two, result("a"), calls({call("h", "3")}), result("late", "", "2"),
                   result("c")}) == "a:f/1 late:g/2 c:h/3 ");
  CHECK(completed({two, result("x", "", "9"), result("y"), result("z")}) == "x:f/9 y:g/2 z:/ ");
  CHECK(completed({result("alone")}) == "alone:/ ");
}

TEST_CASE("History_NamesCallsThatHaveNoId") {
  std::vector<ChatMessage> messages{calls({call("f"), call("g")}), result("a"), result("b"),
                                    calls({call("f")}), result("c")};
  complete_history(messages, {});
  CHECK(results_of(messages) == "a:f/call_00000000 b:g/call_00000001 c:f/call_00000002 ");
}

TEST_CASE("History_GivesMistralIdsOfNineLettersAndDigits") {
  engine::AnswerFormat format;
  format.call_open = "[TOOL_CALLS]";
  std::vector<ChatMessage> messages{calls({call("f", "call_ab12cd34"), call("g", "abc123XYZ")}),
                                    result("a", "", "call_ab12cd34"), result("b", "", "abc123XYZ")};
  complete_history(messages, format);
  const std::string id = messages[0].tool_calls[0].id;
  CHECK(id.size() == 9);
  CHECK(id.find('_') == std::string::npos);
  CHECK(messages[1].tool_call_id == id);
  CHECK(messages[0].tool_calls[1].id == "abc123XYZ");
}

TEST_CASE("History_LeavesOutThinkingBeforeTheLastQuestion") {
  const engine::AnswerFormat thinks = engine::recognise_format("<think></think>");
  const auto contents = [](std::vector<ChatMessage> messages, const engine::AnswerFormat& format) {
    complete_history(messages, format);
    std::string out;
    for (const ChatMessage& message : messages) out += message.content + "|";
    return out;
  };
  const std::vector<ChatMessage> messages{
      {.role = "user", .content = "<think>u</think>1"},
      {.role = "assistant", .content = "\n<think>a</think>\n\nb"},
      {.role = "assistant", .content = "<think>open"},
      {.role = "assistant", .content = "c <think>d</think>"},
      {.role = "user", .content = "2"},
      {.role = "assistant", .content = "<think>e</think>f"}};
  CHECK(contents(messages, thinks) ==
        "<think>u</think>1|b|<think>open|c <think>d</think>|2|<think>e</think>f|");
  CHECK(contents(messages, {}) ==
        "<think>u</think>1|\n<think>a</think>\n\nb|<think>open|c "
        "<think>d</think>|2|<think>e</think>f|");
}
