// What a constraint forces is what AnswerParser reads back: a sample and random walks through the
// grammar, for every family.
#include "engine/answer/call_constraint.h"

#include <set>

#include "engine/answer/answer_parser.h"
#include "engine/answer/argument_grammar.h"
#include "engine/sample/rng.h"
#include "tests/engine/grammar/grammar_support.h"
#include "tests/support/catch.h"

using namespace olx::engine;
using namespace olx::tests;

namespace {

Value city_tools() {
  return parse_json(R"([
    {"type":"function","function":{"name":"get_weather","parameters":{"type":"object","properties":{
      "city":{"type":"string","description":"its name"},"days":{"type":"integer","minimum":1,"maximum":9},
      "unit":{"type":"string","enum":["c","f"]},"exact":{"type":"boolean"},"tags":{"type":"array","items":{"type":"string"},"maxItems":2},
      "place":{"type":"object","properties":{"lat":{"type":"number"},"on":{"$ref":"#/$defs/on"}},"required":["lat"],"additionalProperties":false},
      "note":{"type":["string","null"]}},"required":["city","unit"],"$defs":{"on":{"anyOf":[{"type":"boolean"},{"type":"null"}]}}}}},
    {"type":"function","function":{"name":"add","parameters":{"type":"object","properties":{"a":{"type":"integer"},"b":{"type":"integer"}}}}},
    {"type":"function","function":{"name":"now"}}])");
}

struct Family {
  const char* name;
  const char* in_template;
  const char* sample;  // get_weather(city: Oslo, days: 2, unit: c)
};

constexpr Family kFamilies[] = {
    {"Hermes", "tools <tool_call></tool_call>",
     "<tool_call>\n{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Oslo\", \"days\": 2, "
     "\"unit\": \"c\"}}\n</tool_call>"},
    {"Llama 3", "tools \"parameters\": dictionary",
     R"({"name": "get_weather", "parameters": {"city": "Oslo", "days": 2, "unit": "c"}})"},
    {"Mistral", "tools [TOOL_CALLS]",
     R"([TOOL_CALLS][{"name": "get_weather", "arguments": {"city": "Oslo", "days": 2, "unit": "c"}}])"},
    {"Ministral", "tools [TOOL_CALLS] [ARGS]",
     R"([TOOL_CALLS]get_weather[ARGS]{"city": "Oslo", "days": 2, "unit": "c"})"},
    {"Mistral Small 3.2", "tools [TOOL_CALLS] [CALL_ID] [ARGS]",
     R"([TOOL_CALLS]get_weather[CALL_ID]a1b2c3d4e[ARGS]{"city": "Oslo", "days": 2, "unit": "c"})"},
    {"Command-R", "tools Action:\n```json",
     "Action:\n```json\n[\n    {\n        \"tool_name\": \"get_weather\",\n        \"parameters\": "
     "{\"city\": \"Oslo\", \"days\": 2, \"unit\": \"c\"}\n    }\n]```"},
    {"Command-R7B", "tools <|START_ACTION|> <|END_ACTION|>",
     "<|START_ACTION|>[\n    {\"tool_call_id\": \"0\", \"tool_name\": \"get_weather\", "
     "\"parameters\": {\"city\": \"Oslo\", \"days\": 2, \"unit\": \"c\"}}\n]<|END_ACTION|>"},
    {"DeepSeek R1",
     "tools <｜tool▁calls▁begin｜><｜tool▁call▁begin｜> ```json <｜tool▁calls▁end｜>",
     "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>get_weather\n```json\n{"
     "\"city\": \"Oslo\", \"days\": 2, \"unit\": \"c\"}\n```"
     "<｜tool▁call▁end｜><｜tool▁calls▁end｜>"},
    {"DeepSeek V3.1",
     "tools <｜tool▁calls▁begin｜><｜tool▁call▁begin｜><｜tool▁sep｜> <｜tool▁calls▁end｜>",
     "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>get_weather<｜tool▁sep｜>{\"city\": \"Oslo\", "
     "\"days\": 2, \"unit\": \"c\"}<｜tool▁call▁end｜><｜tool▁calls▁end｜>"},
    {"DeepSeek V3.2", "tools ｜DSML｜ function_calls>",
     "<｜DSML｜function_calls>\n<｜DSML｜invoke name=\"get_weather\">\n<｜DSML｜parameter "
     "name=\"city\" string=\"true\">Oslo</｜DSML｜parameter>\n"
     "<｜DSML｜parameter name=\"days\" string=\"false\">2</｜DSML｜parameter>\n<｜DSML｜parameter "
     "name=\"unit\" string=\"true\">c</｜DSML｜parameter>\n"
     "</｜DSML｜invoke>\n</｜DSML｜function_calls>"},
    {"DeepSeek V4", "tools ｜DSML｜ tool_calls>",
     "<｜DSML｜tool_calls>\n<｜DSML｜invoke name=\"get_weather\">\n<｜DSML｜parameter "
     "name=\"city\" string=\"true\">Oslo</｜DSML｜parameter>\n"
     "<｜DSML｜parameter name=\"days\" string=\"false\">2</｜DSML｜parameter>\n<｜DSML｜parameter "
     "name=\"unit\" string=\"true\">c</｜DSML｜parameter>\n"
     "</｜DSML｜invoke>\n</｜DSML｜tool_calls>"},
    {"gpt-oss", "<|channel|> <|message|>",
     "<|channel|>commentary to=functions.get_weather <|constrain|>json<|message|>{\"city\": "
     "\"Oslo\", \"days\": 2, \"unit\": \"c\"}"},
    {"Gemma 4", "tools <|tool_call> <tool_call|>",
     "<|tool_call>call:get_weather{city:<|\"|>Oslo<|\"|>,unit:<|\"|>c<|\"|>,days:2}<tool_call|>"},
    {"Gemma 3", "tools ```tool_code",
     "```tool_code\nget_weather(city=\"Oslo\", unit=\"c\", days=2)\n```"},
    {"Qwen3-Coder", "tools <tool_call> <function=",
     "<tool_call>\n<function=get_weather>\n<parameter=city>\nOslo\n</"
     "parameter>\n<parameter=days>\n2\n</parameter>\n<parameter=unit>\nc\n</parameter>\n"
     "</function>\n</tool_call>"},
    {"Functionary", "tools <function= </function>",
     R"(<function=get_weather>{"city": "Oslo", "days": 2, "unit": "c"}</function>)"},
    {"MiniCPM 5", "tools <function name=\" </function>",
     R"(<function name="get_weather"><param name="city">Oslo</param><param name="days">2</param><param name="unit">c</param></function>)"},
    {"MiniMax M2", "tools <minimax:tool_call> <invoke name=",
     "<minimax:tool_call>\n<invoke name=\"get_weather\">\n<parameter "
     "name=\"city\">Oslo</parameter>\n<parameter name=\"days\">2</parameter>\n"
     "<parameter name=\"unit\">c</parameter>\n</invoke>\n</minimax:tool_call>"},
    {"Glimmer", "tools <atem:function_calls> <atem:invoke",
     "<atem:function_calls>\n<atem:invoke name=\"get_weather\">\n<atem:parameter "
     "name=\"city\">Oslo</atem:parameter>\n<atem:parameter name=\"days\">2"
     "</atem:parameter>\n<atem:parameter "
     "name=\"unit\">c</atem:parameter>\n</atem:invoke>\n</atem:function_calls>"},
    {"GLM", "tools <tool_call> <arg_key>",
     "<tool_call>get_weather\n<arg_key>city</arg_key>\n<arg_value>Oslo</arg_value>\n<arg_key>days</"
     "arg_key>\n<arg_value>2</arg_value>\n"
     "<arg_key>unit</arg_key>\n<arg_value>c</arg_value>\n</tool_call>"},
    {"GLM 4.7", "tools <tool_call> <arg_key>",
     "<tool_call>get_weather<arg_key>city</arg_key><arg_value>Oslo</arg_value><arg_key>days</"
     "arg_key><arg_value>2</arg_value>"
     "<arg_key>unit</arg_key><arg_value>c</arg_value></tool_call>"},
    {"Nemotron", "tools <TOOLCALL></TOOLCALL>",
     R"(<TOOLCALL>[{"name": "get_weather", "arguments": {"city": "Oslo", "days": 2, "unit": "c"}}]</TOOLCALL>)"},
    {"Nemotron Mini", "tools <toolcall></toolcall>",
     R"(<toolcall> {"name": "get_weather", "arguments": {"city": "Oslo", "days": 2, "unit": "c"}} </toolcall>)"},
    {"Apriel", "tools <tool_calls></tool_calls>",
     R"(<tool_calls>[{"name": "get_weather", "arguments": {"city": "Oslo", "days": 2, "unit": "c"}}]</tool_calls>)"},
    {"LFM 2", "tools <|tool_call_start|>",
     "<|tool_call_start|>[get_weather(city=\"Oslo\", unit=\"c\", days=2)]<|tool_call_end|>"},
    {"Phi 4 mini", "tools <|tool_call|> <|/tool_call|>",
     R"(<|tool_call|>[{"name": "get_weather", "arguments": {"city": "Oslo", "days": 2, "unit": "c"}}])"},
    {"Apertus", "tools <|tools_prefix|> <|tools_suffix|>",
     R"(<|tools_prefix|>[{"get_weather": {"city": "Oslo", "days": 2, "unit": "c"}}]<|tools_suffix|>)"},
    {"Kimi K2",
     "tools <|tool_call_begin|> <|tool_call_argument_begin|> <|tool_calls_section_begin|> "
     "<|tool_calls_section_end|>",
     "<|tool_calls_section_begin|><|tool_call_begin|>functions.get_weather:0<|tool_call_argument_"
     "begin|>{\"city\": \"Oslo\", \"days\": 2, \"unit\": \"c\"}"
     "<|tool_call_end|><|tool_calls_section_end|>"},
    {"Solar Open", "tools <|tool_calls|> <|tool_call:begin|> <|tool_call:args|>",
     "<|tool_calls|><|tool_call:begin|>a1b2c3d4e<|tool_call:name|>get_weather<|tool_call:args|>{"
     "\"city\": \"Oslo\", \"days\": 2, \"unit\": \"c\"}<|tool_call:end|>"},
    {"GigaChat 3", "tools 'function call' <|role_sep|>",
     "<|message_sep|>\n\nfunction call<|role_sep|>\n{\"name\": \"get_weather\", \"arguments\": "
     "{\"city\": \"Oslo\", \"days\": 2, \"unit\": \"c\"}}"},
    {"GigaChat 3.1", "tools <|function_call|>",
     R"(<|function_call|>{"name": "get_weather", "arguments": {"city": "Oslo", "days": 2, "unit": "c"}})"},
    {"Firefunction", "tools functools",
     R"(functools[{"name": "get_weather", "arguments": {"city": "Oslo", "days": 2, "unit": "c"}}])"},
    {"a Go template's own mark",
     "{{ if .Tools }}x{{ end }}{{ if .ToolCalls }}{{ range .ToolCalls }}CALL {\"name\": 1}",
     R"(CALL{"name": "get_weather", "arguments": {"city": "Oslo", "days": 2, "unit": "c"}})"},
    {"no mark at all", "{% if tools %}{{ tools }}{% endif %}",
     R"({"name": "get_weather", "arguments": {"city": "Oslo", "days": 2, "unit": "c"}})"},
};

ParsedText parse(const AnswerFormat& format, const Value& declared, std::string_view text) {
  AnswerParser parser(format, declared, "");
  ParsedText parsed = parser.push(text);
  ParsedText rest = parser.finish();
  parsed.content += rest.content;
  parsed.thinking += rest.thinking;
  for (ToolCall& call : rest.tool_calls) parsed.tool_calls.push_back(std::move(call));
  return parsed;
}

// What is wrong with a call's arguments, "" for nothing.
std::string fault_in(const ToolCall& call) {
  const ValueMap* map = call.arguments.as_map();
  if (!map) return "no map";
  if (call.name == "now") return map->empty() ? "" : "arguments for now";
  const auto is_whole = [](const Value& value) { return value.as_int() != nullptr; };
  if (call.name == "add") {
    for (const auto& [key, value] : *map)
      if ((key != "a" && key != "b") || !is_whole(value)) return key;
    return "";
  }
  if (call.name != "get_weather") return "name " + call.name;
  for (const auto& [key, value] : *map) {
    bool is_sound = false;
    if (key == "city") is_sound = value.as_string();
    if (key == "days") is_sound = is_whole(value) && *value.as_int() >= 1 && *value.as_int() <= 9;
    if (key == "unit") is_sound = value == Value("c") || value == Value("f");
    if (key == "exact") is_sound = value.as_bool();
    if (key == "note") is_sound = value.as_string() || value.is_null();
    if (key == "tags") {
      is_sound = value.as_list() && value.as_list()->size() <= 2;
      if (is_sound)
        for (const Value& tag : *value.as_list()) is_sound = is_sound && tag.as_string();
    }
    if (key == "place") {
      const Value* lat = value.find("lat");
      const Value* on = value.find("on");
      is_sound =
          lat && (lat->as_int() || lat->as_double()) && (!on || on->is_null() || on->as_bool());
    }
    if (!is_sound) return key;
  }
  return call.arguments.find("city") && call.arguments.find("unit")
             ? ""
             : "something required is missing";
}

// A text the grammar allows, byte by byte at random; "" where it did not end in time.
std::string random_text(Matcher& matcher, Rng& rng) {
  std::string text;
  Matcher::State state = matcher.start();
  for (int n = 0; n < 3000; ++n) {
    matcher.begin_token(state);
    if (matcher.is_complete(state)) return text;
    if (matcher.may_end(state) && rng.next() % 2 == 0) return text;
    std::vector<uint8_t> allowed, closing;
    for (int byte = 1; byte < 256; ++byte) {
      if (matcher.next(state, static_cast<uint8_t>(byte)) == Matcher::kDead) continue;
      allowed.push_back(static_cast<uint8_t>(byte));
      if (std::string_view("\"</}])|>").find(static_cast<char>(byte)) != std::string_view::npos)
        closing.push_back(static_cast<uint8_t>(byte));
    }
    if (allowed.empty()) return "";
    const std::vector<uint8_t>& from = !closing.empty() && rng.next() % 4 == 0 ? closing : allowed;
    const uint8_t byte = from[rng.next() % from.size()];
    text += static_cast<char>(byte);
    state = matcher.next(state, byte);
  }
  return "";
}

AnswerFormat format_of(const Family& family) {
  const std::string_view text = family.in_template;
  return text.find(".Tools") == std::string_view::npos ? recognise_format(text)
                                                       : recognise_go_format(text);
}

Value named(const char* name) {
  const Value all = city_tools();
  ValueList one;
  for (const Value& tool : *all.as_list())
    if (*tool.find("function")->find("name")->as_string() == name) one.push_back(tool);
  return one;
}

}  // namespace

TEST_CASE("CallConstraint_AllowsWhatEachFamilyWrites") {
  const ValueMap expected{{"city", "Oslo"}, {"days", 2}, {"unit", "c"}};
  for (const Family& family : kFamilies) {
    INFO(family.name);
    const AnswerFormat format = format_of(family);
    const OutputConstraint constraint = constrain_calls(format, city_tools(), true);
    INFO(constraint.grammar);
    CHECK(matches(constraint, family.sample));
    CHECK_FALSE(matches(constraint, std::string("Sure! ") + family.sample));
    CHECK_FALSE(matches(constraint, ""));
    const ParsedText parsed = parse(format, city_tools(), family.sample);
    REQUIRE(parsed.tool_calls.size() == 1);
    CHECK(parsed.tool_calls[0].name == "get_weather");
    for (const auto& [key, value] : expected)
      CHECK((parsed.tool_calls[0].arguments.find(key) &&
             *parsed.tool_calls[0].arguments.find(key) == value));
    CHECK_FALSE(matches(constrain_calls(format, named("add"), true), family.sample));
  }
}

TEST_CASE("CallConstraint_EveryTextItAllowsIsReadBackAsCalls") {
  for (const Family& family : kFamilies) {
    INFO(family.name);
    const AnswerFormat format = format_of(family);
    for (const bool allows_parallel : {true, false}) {
      const OutputConstraint constraint = constrain_calls(format, city_tools(), allows_parallel);
      Matcher matcher(compile_constraint(constraint));
      int n_ended = 0;
      for (uint64_t seed = 1; seed <= 60; ++seed) {
        Rng rng(seed);
        const std::string text = random_text(matcher, rng);
        if (text.empty()) continue;
        ++n_ended;
        INFO("wrote " << text);
        const ParsedText parsed = parse(format, city_tools(), text);
        REQUIRE(parsed.content == "");
        REQUIRE(!parsed.tool_calls.empty());
        if (!allows_parallel) REQUIRE(parsed.tool_calls.size() == 1);
        for (const ToolCall& call : parsed.tool_calls) {
          const std::string fault = fault_in(call);
          INFO("call " << call.name << ", at fault: " << fault);
          REQUIRE(fault == "");
        }
      }
      CHECK(n_ended > 20);
    }
  }
}

TEST_CASE("CallConstraint_ThinksFirstWhereTheModelDoes") {
  const AnswerFormat format = recognise_format("tools <tool_call></tool_call> <think></think>");
  const std::string call = "<tool_call>\n{\"name\": \"now\", \"arguments\": {}}\n</tool_call>";
  const auto with = [&](std::string_view prompt, bool may_think) {
    OutputConstraint constraint = constrain_calls(format, city_tools(), true);
    free_thinking(format, prompt, may_think, false, constraint);
    return constraint;
  };
  CHECK(matches(with("", true), call));
  CHECK(matches(with("", true), "<think>hm <tool_call> no</think>\n\n" + call));
  CHECK_FALSE(matches(with("", false), "<think>hm</think>" + call));
  CHECK_FALSE(matches(with("", true), "<think>hm</think>Hello"));
  CHECK(matches(with("A:<think>\n", false), "hm</think>" + call));
  CHECK_FALSE(matches(with("A:<think>\n", true), call));

  const AnswerFormat harmony = recognise_format("<|channel|> <|message|>");
  OutputConstraint calls = constrain_calls(harmony, city_tools(), true);
  free_thinking(harmony, "<|start|>assistant", true, false, calls);
  const std::string message =
      "<|channel|>commentary to=functions.now <|constrain|>json<|message|>{}";
  CHECK(matches(calls, message));
  CHECK(matches(calls, "<|channel|>analysis<|message|>hm<|end|><|start|>assistant" + message));
  CHECK_FALSE(matches(
      calls,
      "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>no"));

  OutputConstraint content = schema(
      R"({"type":"object","properties":{"a":{"type":"integer"}},"required":["a"],"additionalProperties":false})");
  const OutputConstraint plain = content;
  free_thinking(harmony, "<|start|>assistant", true, true, content);
  CHECK(matches(content,
                "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|"
                "message|>{\"a\":1}"));
  CHECK(matches(content, "<|channel|>final<|message|>{\"a\":1}"));
  CHECK_FALSE(matches(content, "<|channel|>final<|message|>Hello"));

  OutputConstraint either =
      constrain_either(harmony, plain, constrain_calls(harmony, city_tools(), true));
  free_thinking(harmony, "<|start|>assistant", true, false, either);
  CHECK(matches(either, message));
  CHECK(matches(either,
                "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|"
                "message|>{\"a\":1}"));
  CHECK_FALSE(matches(either, "<|channel|>final<|message|>Hello"));
}

TEST_CASE("CallConstraint_TakesEitherCallsOrTheAnswer") {
  const AnswerFormat format = recognise_format("tools <tool_call></tool_call>");
  const OutputConstraint content = schema(
      R"({"type":"object","properties":{"a":{"type":"integer"}},"required":["a"],"additionalProperties":false})");
  const OutputConstraint either =
      constrain_either(format, content, constrain_calls(format, city_tools(), true));
  CHECK(matches(either, R"({"a":1})"));
  CHECK(matches(either, "<tool_call>\n{\"name\": \"now\", \"arguments\": {}}\n</tool_call>"));
  CHECK_FALSE(matches(either, "Hello"));
  CHECK_THROWS_AS(constrain_either(format, gbnf("root ::= \"a\" | \"b\""),
                                   constrain_calls(format, city_tools(), true)),
                  EngineError);
}

TEST_CASE("CallConstraint_NamesWhatCannotBeHeldTo") {
  const auto refused = [](const char* form, const std::string& parameters,
                          const std::string& name = "f") {
    try {
      const Value declared = parse_json(R"([{"function":{"name":")" + name + R"(","parameters":)" +
                                        parameters + "}}]");
      (void)compile_constraint(constrain_calls(recognise_format(form), declared, true));
    } catch (const EngineError& error) {
      return error.code() == ErrorCode::kInvalidRequest ? std::string(error.what()) : "wrong code";
    }
    return std::string();
  };
  constexpr const char* kTags = "tools <tool_call> <function=";
  constexpr const char* kGemma = "tools <|tool_call> <tool_call|>";
  const std::string end = " cannot be enforced in the way this model writes its calls";
  CHECK(refused(kTags, R"({"properties":{"a":{"type":"string","pattern":"x+"}}})") ==
        "tool \"f\": \"pattern\"" + end);
  CHECK(refused(kTags, R"({"properties":{"a":{"type":"string","minLength":2,"maxLength":3}}})") ==
        "");
  CHECK(refused(kTags, R"({"anyOf":[]})") == "tool \"f\": \"anyOf\"" + end);
  CHECK(refused(kTags, R"({"type":"array"})") ==
        "tool \"f\": parameters of type \"array\" (only \"object\")" + end);
  CHECK(refused(kTags, R"({"properties":{"a b":{}}})") ==
        "tool \"f\": the parameter \"a b\"" + end);
  CHECK(refused(kTags, R"({"properties":{},"required":["a"]})") ==
        "tool \"f\": a required parameter that is not among the properties" + end);
  CHECK(refused(kTags, R"({"properties":{"a":{"type":"string","enum":["</parameter>"]}}})") ==
        "tool \"f\": the value \"</parameter>\"" + end);
  CHECK(
      refused(
          kGemma,
          R"({"properties":{"a":{"$ref":"#/$defs/n"}},"$defs":{"n":{"type":"object","properties":{"n":{"$ref":"#/$defs/n"}}}}})")
          .starts_with("tool \"f\": a schema"));
  CHECK(refused(kGemma, R"({"properties":{"a":{"$ref":"#/elsewhere"}}})") ==
        "tool \"f\": \"$ref\": \"#/elsewhere\"" + end);
  CHECK(refused(kGemma, R"({"properties":{"a":{"type":"string","format":"date"}}})") ==
        "tool \"f\": \"format\"" + end);
  CHECK(refused("tools <tool_call></tool_call>", "{}", "a b") ==
        "tool \"a b\": a call of this name cannot be forced");
  CHECK(refused("tools <tool_call></tool_call>", "{}", std::string(256, 'a')) == "");
  CHECK(refused("tools <tool_call></tool_call>", "{}", std::string(257, 'a'))
            .ends_with("cannot be forced"));
  CHECK(refused("nothing", "{}") == "a call cannot be forced: the model's template has no tools");
}

TEST_CASE("CallConstraint_BoundsWhatDefinitionsComeTo") {
  const auto is_refused = [](const char* form, const std::string& parameters) {
    try {
      (void)constrain_calls(
          recognise_format(form),
          parse_json(R"([{"function":{"name":"f","parameters":)" + parameters + "}}]"), true);
    } catch (const EngineError&) {
      return true;
    }
    return false;
  };
  // One part of it is the object that holds the definitions, one their list, and one in each.
  const auto copied = [](int64_t n_uses, int64_t n_parts) {
    std::string uses, values;
    for (int64_t i = 0; i < n_uses; ++i)
      uses += (i > 0 ? "," : "") + ("\"p" + std::to_string(i) + R"(":{"$ref":"#/$defs/x"})");
    for (int64_t i = 0; i < n_parts - 3; ++i) values += i > 0 ? ",1" : "1";
    return R"({"properties":{)" + uses + R"(},"$defs":{"x":{"enum":[)" + values + "]}}}";
  };
  constexpr const char* kTags = "tools <tool_call> <function=";
  CHECK_FALSE(is_refused(kTags, copied(10, kMaxCopiedParts / 10)));
  CHECK(is_refused(kTags, copied(10, kMaxCopiedParts / 10 + 1)));
  constexpr const char* kGemma = "tools <|tool_call> <tool_call|>";
  const auto listed = [](int n) {
    std::string properties;
    for (int i = 0; i < n; ++i)
      properties += (i > 0 ? "," : "") + ("\"p" + std::to_string(i) + R"(":{"type":"boolean"})");
    return R"({"properties":{)" + properties + "}}";
  };
  CHECK_FALSE(is_refused(kGemma, listed(kMaxExpandedParts)));
  CHECK(is_refused(kGemma, listed(kMaxExpandedParts + 1)));
  // Definitions that double at each step.
  std::string defs;
  for (int i = 0; i < 15; ++i) {
    const std::string next = R"({"$ref":"#/$defs/d)" + std::to_string(i + 1) + R"("})";
    defs += "\"d" + std::to_string(i) + R"(":{"type":"object","properties":{"a":)" + next +
            R"(,"b":)" + next + "}},";
  }
  CHECK(is_refused(kGemma, R"({"properties":{"a":{"$ref":"#/$defs/d0"}},"$defs":{)" + defs +
                               R"("d15":{"type":"null"}}})"));
}
