// AnswerParser: each family of formats, every place where the text may be cut, and what broken or hostile text becomes.

#include "engine/answer/answer_parser.h"

#include "tests/support/catch.h"
#include "tests/support/json_value.h"

using namespace olx;
using namespace olx::engine;

namespace {

Value tools() {
  return tests::parse_json(R"([
    {"type":"function","function":{"name":"get_weather","description":"w","parameters":{"type":"object","properties":{
      "city":{"type":"string"},"days":{"type":"integer"}}}}},
    {"type":"function","function":{"name":"add","parameters":{"type":"object","properties":{}}}}])");
}

std::string print(const Value& value) {
  if (value.is_null()) return "null";
  if (const bool* b = value.as_bool()) return *b ? "true" : "false";
  if (const int64_t* i = value.as_int()) return std::to_string(*i);
  if (const double* d = value.as_double()) return std::to_string(*d).substr(0, 4);
  if (const std::string* s = value.as_string()) return "'" + *s + "'";
  std::string out;
  if (const ValueList* list = value.as_list()) {
    for (const Value& item : *list) out += (out.empty() ? "" : ",") + print(item);
    return "[" + out + "]";
  }
  for (const auto& [key, member] : *value.as_map()) out += (out.empty() ? "" : ",") + key + ":" + print(member);
  return "{" + out + "}";
}

struct Joined {
  std::string thinking, content, calls;
  void add(const ParsedText& piece) {
    thinking += piece.thinking;
    content += piece.content;
    for (const ToolCall& call : piece.tool_calls) calls += (calls.empty() ? "" : " ") + call.name + print(call.arguments);
  }
  std::string text() const { return "T<" + thinking + "> C<" + content + "> F<" + calls + ">"; }
};

std::string parse(const AnswerFormat& format, const Value& declared, std::string_view prompt, const std::vector<std::string_view>& pieces) {
  AnswerParser parser(format, declared, prompt);
  Joined joined;
  for (const std::string_view piece : pieces) joined.add(parser.push(piece));
  joined.add(parser.finish());
  return joined.text();
}

// Whole, cut in two at every byte, and byte by byte: always the same.
std::string parse_every_way(const AnswerFormat& format, std::string_view prompt, std::string_view answer, const Value& declared = tools()) {
  const std::string whole = parse(format, declared, prompt, {answer});
  std::vector<std::string_view> bytes;
  for (size_t i = 0; i < answer.size(); ++i) {
    CHECK(parse(format, declared, prompt, {answer.substr(0, i), answer.substr(i)}) == whole);
    bytes.push_back(answer.substr(i, 1));
  }
  CHECK(parse(format, declared, prompt, bytes) == whole);
  return whole;
}

std::string parse_as(std::string_view template_text, std::string_view answer, std::string_view prompt = "") {
  INFO(answer);
  return parse_every_way(recognise_format(template_text), prompt, answer);
}

constexpr const char* kHermes = "{{ tools }} <tool_call></tool_call> <think></think>";

}  // namespace

TEST_CASE("AnswerFormat_SaysWhatATemplateCanDo") {
  CHECK(recognise_format("{% if tools %}{{ tools }}{% endif %}").calls());
  CHECK_FALSE(recognise_format("{{ messages }} <tool_call>").thinks());
  CHECK_FALSE(recognise_format("{% for m in messages %}{{ m.content }}{% endfor %}").calls());
  CHECK(recognise_format("<think></think>").thinks());
  // A Go template is offered tools as .Tools only, whatever its text speaks of.
  CHECK_FALSE(recognise_go_format("{{ .System }} use tools: <tool_call>{}</tool_call>").calls());
  const AnswerFormat qwen = recognise_go_format(
      "{{ if .Tools }}{{ end }}{{ if .ToolCalls }}<tool_call>{{ end }}</tool_call>");
  CHECK(qwen.syntax == CallSyntax::kJson);
  CHECK(qwen.call_open == "<tool_call>");
  const AnswerFormat own = recognise_go_format(
      "{{ if .Thinking }}<reasoning>\n{{- .Thinking }}\n</reasoning>\n{{ end }}{{ .Content }}");
  CHECK(own.think_open == "<reasoning>");
  CHECK(own.think_close == "</reasoning>");
  CHECK_FALSE(
      recognise_go_format("{{ if .Thinking }}{{ .Thinking }}{{ end }}{{ .Content }}").thinks());
}

TEST_CASE("AnswerParser_SplitsThinking") {
  CHECK(parse_as(kHermes, "<think>\nhm <b> ok\n</think>\n\nHello") == "T<hm <b> ok\n> C<Hello> F<>");
  CHECK(parse_as(kHermes, "hm</think>Hello", "user: hi\n<think>\n") == "T<hm> C<Hello> F<>");
  CHECK(parse_as(kHermes, " \n<think>never ends </thin") == "T<never ends </thin> C<> F<>");
  CHECK(parse_as(kHermes, " Hello <think>no</think>") == "T<> C< Hello <think>no</think>> F<>");
  CHECK(parse_as(kHermes, "<thin") == "T<> C<<thin> F<>");
  CHECK(parse_as("no format", "<think>a</think>b") == "T<> C<<think>a</think>b> F<>");
  CHECK(parse_as("[THINK] [/THINK]", "[THINK]a[/THINK]b") == "T<a> C<b> F<>");
  CHECK(parse_as("<|channel>thought\n <channel|>", "<|channel>thought\na<channel|>b") == "T<a> C<b> F<>");
  CHECK(parse_as("<think></think> and <response></response>", "<think>a</think>\n<response>b\n</response>") == "T<a> C<b> F<>");
}

TEST_CASE("AnswerParser_ReadsHermesCalls") {
  const std::string call = R"(<tool_call>
{"name": "get_weather", "arguments": {"city": "Oslo </tool_call>", "days": 2}}
</tool_call>)";
  CHECK(parse_as(kHermes, call) == "T<> C<> F<get_weather{city:'Oslo </tool_call>',days:2}>");
  CHECK(parse_as(kHermes, "<think>a</think>\nLet me.\n" + call + "\n" + R"(<tool_call>{"name":"add"}</tool_call>)" + "\n done") ==
        "T<a> C<Let me.done> F<get_weather{city:'Oslo </tool_call>',days:2} add{}>");
  // Not closed: the model ended its turn. An undeclared name is for the caller to refuse.
  CHECK(parse_as(kHermes, R"(<tool_call>{"name":"fly","arguments":"{\"to\":[1,{\"a\":null}]}"})") == "T<> C<> F<fly{to:[1,{a:null}]}>");
}

TEST_CASE("AnswerParser_GivesBrokenCallsOutAsContent", "[T-38]") {
  for (const char* answer : {"<tool_call>{\"name\": }</tool_call> x", "<tool_call>{\"name\":\"add\",\"arguments\":[1]}</tool_call>", "<tool_call>",
                             "<tool_call>{\"name\":\"add\",\"argume", "<tool_call></tool_call>", "a <tool_cal", "{\"name\":\"add\"}",
                             "<tool_call>{\"name\":\"add\",\"arguments\":{\"a\":\"\\q\"}}</tool_call>", "  \n"})
    CHECK(parse_as("<tool_call></tool_call> tools", answer) == "T<> C<" + std::string(answer) + "> F<>");
  CHECK(parse_as(kHermes, R"(<tool_call>oops <tool_call>{"name":"add"}</tool_call>)") == "T<> C<<tool_call>oops> F<add{}>");
}

TEST_CASE("AnswerParser_ReadsEachFamily") {
  const std::string weather = "T<> C<> F<get_weather{city:'Oslo',days:2}>";
  const std::string both = "T<> C<> F<get_weather{city:'Oslo',days:2} add{}>";
  SECTION("Llama 3") {
    const char* form = "tools \"parameters\": dictionary";
    CHECK(parse_as(form, R"({"name": "get_weather", "parameters": {"city": "Oslo", "days": 2}})") == weather);
    CHECK(parse_as(form, R"(<|python_tag|>{"name": "get_weather", "parameters": {"city": "Oslo", "days": 2}}; {"name":"add","parameters":{}})") == both);
    CHECK(parse_as("tools <|python_tag|>", R"(<|python_tag|>get_weather.call(city="Oslo", days=2))") == weather);
    CHECK(parse_as(form, R"({"name": "bob", "parameters": {}})") == R"(T<> C<{"name": "bob", "parameters": {}}> F<>)");
    CHECK(parse_as(form, R"( {"a": [1, 2]} is JSON)") == R"(T<> C< {"a": [1, 2]} is JSON> F<>)");
    CHECK(parse_as(form, R"([get_weather(city='Oslo', days=2), add()])") == both);
  }
  SECTION("Mistral") {
    const char* form = "tools [TOOL_CALLS] [ARGS]";
    CHECK(parse_as(form, R"([TOOL_CALLS] [{"name": "get_weather", "arguments": {"city": "Oslo", "days": 2}, "id": "abc"}])") == weather);
    CHECK(parse_as(form, R"([TOOL_CALLS]get_weather[ARGS]{"city": "Oslo", "days": 2}[TOOL_CALLS]add[CALL_ID]x1[ARGS]{})") == both);
    CHECK(parse_as(form, R"(Sure.[TOOL_CALLS]add[ARGS]{"a")") == R"(T<> C<Sure.[TOOL_CALLS]add[ARGS]{"a"> F<>)");
  }
  SECTION("Command-R") {
    CHECK(parse_as("tools Action:\n```json", "Action: ```json\n[\n{\n\"tool_name\": \"get_weather\",\n\"parameters\": {\"city\": \"Oslo\", \"days\": 2}\n}\n]```") == weather);
    CHECK(parse_as("tools <|START_ACTION|> <|END_ACTION|> <|START_THINKING|><|END_THINKING|> <|START_RESPONSE|> <|END_RESPONSE|>",
                   "<|START_THINKING|>a<|END_THINKING|><|START_ACTION|>[\n{\"tool_call_id\":\"0\",\"tool_name\":\"add\",\"parameters\":{}}]<|END_ACTION|>") ==
          "T<a> C<> F<add{}>");
  }
  SECTION("DeepSeek") {
    CHECK(parse_as("tools <｜tool▁calls▁begin｜><｜tool▁call▁begin｜> ```json <｜tool▁calls▁end｜>",
                   "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>get_weather\n```json\n{\"city\":\"Oslo\",\"days\":2}\n```<｜tool▁call▁end｜>\n"
                   "<｜tool▁call▁begin｜>function<｜tool▁sep｜>add\n```json\n{}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>") == both);
    CHECK(parse_as("tools <｜tool▁calls▁begin｜><｜tool▁call▁begin｜><｜tool▁sep｜> <｜tool▁calls▁end｜>",
                   "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>get_weather<｜tool▁sep｜>{\"city\":\"Oslo\",\"days\":2}<｜tool▁call▁end｜><｜tool▁calls▁end｜>") == weather);
    CHECK(parse_as("tools ｜DSML｜ function_calls>",
                   "<｜DSML｜function_calls>\n<｜DSML｜invoke name=\"get_weather\">\n<｜DSML｜parameter name=\"city\" string=\"true\">Oslo</｜DSML｜parameter>\n"
                   "<｜DSML｜parameter name=\"days\" string=\"false\">2</｜DSML｜parameter>\n</｜DSML｜invoke>\n</｜DSML｜function_calls>") == weather);
  }
  SECTION("gpt-oss") {
    const char* form = "<|channel|> <|message|>";
    CHECK(parse_as(form, "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>commentary to=functions.get_weather <|constrain|>json"
                         "<|message|>{\"city\":\"Oslo\",\"days\":2}<|call|>") == "T<hm> C<> F<get_weather{city:'Oslo',days:2}>");
    CHECK(parse_as(form, "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>Hello <|x") == "T<hm> C<Hello <|x> F<>");
    CHECK(parse_as(form, " to=functions.add<|channel|>commentary json<|message|>{}", "<|start|>assistant") == "T<> C<> F<add{}>");
    CHECK(parse_as(form, " to=functions.add<|channel|>commentary json<|message|>{x", "<|start|>assistant") == "T<> C<{x> F<>");
    CHECK(parse_as(form, "Hello, plain") == "T<> C<Hello, plain> F<>");
    CHECK(parse_as(form, "Hello<|end|>", "<|start|>assistant<|channel|>final<|message|>") == "T<> C<Hello> F<>");
    CHECK(parse_as(form, "<|channel|>" + std::string(1100, 'x')) == "T<> C<<|channel|>" + std::string(1100, 'x') + "> F<>");
  }
  SECTION("Gemma") {
    CHECK(parse_as("tools <|tool_call> <tool_call|>", "<|tool_call>call:get_weather{city:<|\"|>Oslo<|\"|>,days:2}<tool_call|>") == weather);
    CHECK(parse_as("tools ```tool_code", "```tool_code\nget_weather(city=\"Oslo\", days=2)\n```") == weather);
    CHECK(parse_as("tools ```tool_code", "```tool_code\nprint(a=1)\n```") == "T<> C<```tool_code\nprint(a=1)\n```> F<>");
  }
  SECTION("with tags") {
    CHECK(parse_as("tools <tool_call> <function=", "<tool_call>\n<function=get_weather>\n<parameter=city>\nOslo\n</parameter>\n<parameter=days>\n2\n</parameter>\n"
                                                   "</function>\n</tool_call>") == weather);
    CHECK(parse_as("tools <function= </function>", "<function=get_weather>{\"city\": \"Oslo\", \"days\": 2}</function><function=add>{}</function>") == both);
    CHECK(parse_as("tools <function name=\" </function>",
                   "<function name=\"get_weather\"><param name=\"city\"><![CDATA[Oslo]]></param><param name=\"days\">2</param></function>") == weather);
    CHECK(parse_as("tools <minimax:tool_call> <invoke name=",
                   "<minimax:tool_call>\n<invoke name=\"get_weather\">\n<parameter name=\"city\">Oslo</parameter>\n<parameter name=\"days\">2</parameter>\n</invoke>\n"
                   "<invoke name=\"add\">\n</invoke>\n</minimax:tool_call>") == both);
    CHECK(parse_as("tools <tool_call> <arg_key>",
                   "<tool_call>get_weather\n<arg_key>city</arg_key>\n<arg_value>Oslo</arg_value>\n<arg_key>days</arg_key>\n<arg_value>2</arg_value>\n</tool_call>") ==
          weather);
    // A text stays a text, whatever it looks like.
    CHECK(parse_as("tools <tool_call> <function=", "<tool_call>\n<function=get_weather>\n<parameter=city>\n12\n</parameter>\n</function>\n</tool_call>") ==
          "T<> C<> F<get_weather{city:'12'}>");
  }
  SECTION("others") {
    CHECK(parse_as("tools <|tool_call|>", R"(<|tool_call|>[{"name":"get_weather","arguments":{"city":"Oslo","days":2}}])") == weather);
    CHECK(parse_as("tools <TOOLCALL></TOOLCALL>", R"(<TOOLCALL>[{"name":"get_weather","arguments":{"city":"Oslo","days":2}}]</TOOLCALL>)") == weather);
    CHECK(parse_as("tools <|tools_prefix|> <|tools_suffix|>", R"(<|tools_prefix|>[{"get_weather": {"city":"Oslo","days":2}}]<|tools_suffix|>)") == weather);
    CHECK(parse_as("tools <|tool_call_start|>", "<|tool_call_start|>[get_weather(city=\"Oslo\", days=2)]<|tool_call_end|>") == weather);
    CHECK(parse_as("tools <|tool_call_begin|> <|tool_call_argument_begin|> <|tool_calls_section_begin|> <|tool_calls_section_end|>",
                   "<|tool_calls_section_begin|><|tool_call_begin|>functions.get_weather:0<|tool_call_argument_begin|>{\"city\":\"Oslo\",\"days\":2}"
                   "<|tool_call_end|><|tool_calls_section_end|>") == weather);
    CHECK(parse_as("tools <|tool_call:begin|> <|tool_call:args|>",
                   "<|tool_call:begin|>id1<|tool_call:name|>get_weather<|tool_call:args|>{\"city\":\"Oslo\",\"days\":2}<|tool_call:end|>") == weather);
    CHECK(parse_as("{{ if .Tools }}x{{ end }}{{ if .ToolCalls }}{{ range .ToolCalls }}CALL {\"name\": 1}", R"(CALL {"name":"get_weather","arguments":{"city":"Oslo","days":2}})") == weather);
  }
}

TEST_CASE("AnswerParser_LeavesCallsAloneWithoutTools") {
  const char* answer = R"(<tool_call>{"name":"add"}</tool_call>)";
  CHECK(parse_every_way(recognise_format(kHermes), "", answer, Value()) == "T<> C<" + std::string(answer) + "> F<>");
}

TEST_CASE("AnswerParser_BoundsWhatItReads", "[T-38]") {
  const AnswerFormat format = recognise_format(kHermes);
  const std::string deep = "<tool_call>{\"name\":\"add\",\"arguments\":{\"a\":" + std::string(100'000, '[') + "</tool_call>";
  CHECK(parse(format, tools(), "", {deep}) == "T<> C<" + deep + "> F<>");
  std::string marks;
  for (int i = 0; i < 20'000; ++i) marks += "<tool_call>";
  for (int i = 0; i < 20'000; ++i) marks += "</tool_call>";
  CHECK(parse(format, tools(), "", {marks}) == "T<> C<" + marks + "> F<>");
  const std::string open_text = "<tool_call>{\"name\":\"" + std::string(1 << 21, 'x');
  CHECK(parse(format, tools(), "", {open_text}) == "T<> C<" + open_text + "> F<>");
  std::string calls = "<tool_call>[";
  for (int i = 0; i < 1000; ++i) calls += "{\"name\":\"add\"},";
  CHECK(parse(format, tools(), "", {calls + "]</tool_call>"}).ends_with("F<>"));
}
