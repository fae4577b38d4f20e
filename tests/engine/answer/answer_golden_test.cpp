// What each golden chat template writes for an assistant's message of the history is what its model writes: read back by the
// parser, it must give the message again.

#include <filesystem>
#include <set>

#include "engine/answer/answer_parser.h"
#include "engine/error.h"
#include "engine/text/chat_template.h"
#include "tests/support/catch.h"
#include "tests/support/json_value.h"
#include "tests/support/test_paths.h"

using namespace olx;
using namespace olx::engine;

namespace {

ChatRequest conversation() {
  ChatRequest chat;
  chat.tools = tests::parse_json(R"([{"type":"function","function":{"name":"get_weather","description":"Weather of a city.","parameters":{
    "type":"object","properties":{"city":{"type":"string","description":"Its name."},"days":{"type":"integer","description":"How many."}},
    "required":["city"]}}}])");
  chat.messages.push_back({.role = "user", .content = "Weather in Oslo?"});
  return chat;
}

ToolCall weather_call() {
  return {.id = "a1b2c3d4e", .name = "get_weather", .arguments = Value(ValueMap{{"city", "Oslo {x}"}, {"days", 2}})};
}

}  // namespace

TEST_CASE("AnswerParser_ReadsBackWhatTheGoldenTemplatesWrite") {
  const auto folder = tests::shared_dir() / "golden/chat-templates/jinja";
  if (!tests::have(folder)) return;
  // Written by rules of their own (see formats.inc): their calls stay content.
  const std::set<std::string> unread{"MiniMax-M3", "Kimi-K3", "tencent-Hy3", "meetkai-functionary-medium-v3.2"};
  int n_read = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() != ".jinja") continue;
    const std::string name = entry.path().stem().string();
    const std::string source = tests::read_text_file(entry.path().string());
    INFO(name);
    const AnswerFormat format = recognise_format(source);
    ChatRequest chat = conversation();
    std::string prompt, full;
    try {
      const auto tmpl = make_jinja_chat_template(source, "", "");
      prompt = tmpl->render(chat);
      chat.messages.push_back({.role = "assistant", .tool_calls = {weather_call()}});
      chat.add_generation_prompt = false;
      full = tmpl->render(chat);
    } catch (const EngineError& error) {
      WARN(name << ": not rendered: " << error.what());
      continue;
    }
    if (full.find("Oslo {x}") == std::string::npos) {
      WARN(name << ": writes no calls");
      continue;
    }
    // What the templates differ in before the answer (thinking begun or ended in the prompt) is not the answer.
    size_t common = 0;
    while (common < prompt.size() && common < full.size() && prompt[common] == full[common]) ++common;
    const size_t mark = full.rfind('<', common);
    if (mark < common && full.find('>', mark) >= common) common = mark;  // cut inside a mark
    const std::string answer = full.substr(common);
    AnswerParser parser(format, chat.tools, full.substr(0, common));
    ParsedText parsed = parser.push(answer);
    ParsedText rest = parser.finish();
    for (ToolCall& call : rest.tool_calls) parsed.tool_calls.push_back(std::move(call));
    INFO("answer: " << answer << "\ncontent: " << parsed.content << rest.content);
    if (unread.contains(name)) continue;
    CHECK(parsed.tool_calls.size() == 1);
    if (parsed.tool_calls.size() != 1) continue;
    CHECK(parsed.tool_calls[0].name == "get_weather");
    CHECK(parsed.tool_calls[0].arguments == weather_call().arguments);
    ++n_read;
  }
  CHECK(n_read > 20);
}
