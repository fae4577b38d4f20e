// The Go template interpreter: Ollama's own templates against what Ollama renders, the language piece by piece, and limits.

#include <filesystem>

#include "engine/error.h"
#include "engine/text/chat_template.h"
#include "tests/support/catch.h"
#include "tests/support/json_value.h"
#include "tests/support/test_paths.h"

using namespace olx;
using namespace olx::engine;

TEST_CASE("GoTemplate_RendersEveryGoldenConversationAsOllamaDoes") {
  const auto folder = tests::shared_dir() / "golden/chat-templates/go";
  if (!tests::have(folder)) return;
  const Value cases = tests::parse_json(tests::read_text_file((folder / "cases.json").string()));
  int n = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() != ".gotmpl") continue;
    const std::string name = entry.path().stem().string();
    const std::string source = tests::read_text_file(entry.path().string());
    // The note of cases.json: these end in a space that the golden files do not have.
    bool drops_space = false;
    for (const char* known : {"chatqa", "llama2-chat", "mistral-instruct", "openchat", "vicuna"})
      drops_space = drops_space || name == known;
    for (const auto& [case_name, messages] : *cases.as_map()) {
      if (!messages.as_list()) continue;
      INFO(name << ", case " << case_name);
      ChatRequest request;
      for (const Value& m : *messages.as_list())
        request.messages.push_back({.role = *m.find("role")->as_string(), .content = *m.find("content")->as_string()});
      std::string text = make_go_chat_template(source)->render(request);
      if (drops_space && text.ends_with(' ')) text.pop_back();
      const std::string wanted = tests::read_text_file((folder / name / case_name).string());
      CHECK(text == wanted);
      std::string from_variables = render_go_template(source, ValueMap{{"messages", messages}});
      if (drops_space && from_variables.ends_with(' ')) from_variables.pop_back();
      CHECK(from_variables == wanted);
      ++n;
    }
  }
  CHECK(n >= 45);
}

struct Row {
  const char* source;
  const char* wanted;
};

TEST_CASE("GoTemplate_EvaluatesAsTextTemplateDoes") {
  const Value data = tests::parse_json(
      R"({"a":1,"b":"two","f":1.5,"list":[1,2,3],"words":["x","y"],"m":{"z":1,"k":"v"},"t":true,"e":"","none":null})");
  const Row rows[] = {
      {"a {{- 1 -}} b", "a1b"},
      {"a\n {{- /* c */ -}} \n b", "ab"},
      {"{{ .a }} {{ .b }} {{ .f }} {{ .t }}", "1 two 1.5 true"},
      {"{{ .missing }}", "<no value>"},
      {"{{ .list }} {{ .m }}", "[1 2 3] map[k:v z:1]"},
      {"{{ if .e }}yes{{ else if .t }}else{{ end }}", "else"},
      {"{{ range .list }}{{ . }},{{ end }}", "1,2,3,"},
      {"{{ range $i, $x := .list }}{{ $i }}={{ $x }};{{ end }}", "0=1;1=2;2=3;"},
      {"{{ range $k, $v := .m }}{{ $k }}:{{ $v }} {{ end }}", "k:v z:1 "},
      {"{{ range .e2 }}x{{ else }}none{{ end }}", "none"},
      {"{{ range .list }}{{ if eq . 2 }}{{ continue }}{{ end }}{{ . }}{{ end }}", "13"},
      {"{{ range .list }}{{ if eq . 2 }}{{ break }}{{ end }}{{ . }}{{ end }}", "1"},
      {"{{ range 3 }}{{ . }}{{ end }}", "012"},
      {"{{ with .b }}{{ . }}{{ $.a }}{{ end }}", "two1"},
      {"{{ with .e }}x{{ else with .b }}{{ . }}{{ end }}", "two"},
      {"{{ $x := 1 }}{{ if .t }}{{ $x = 2 }}{{ end }}{{ $x }}", "2"},
      {"{{ $x := 1 }}{{ if .t }}{{ $x := 2 }}{{ end }}{{ $x }}", "1"},
      {"{{ define \"d\" }}<{{ . }}>{{ end }}{{ template \"d\" .b }}", "<two>"},
      {"{{ block \"n\" .a }}[{{ . }}]{{ end }}", "[1]"},
      {"{{ eq .b \"one\" \"two\" }} {{ ne .a 1 }} {{ lt 1 2 }} {{ ge 2 3 }}", "true false true false"},
      {"{{ and .t .b }} {{ or .e .b }} {{ not .t }}", "two two false"},
      {"{{ and .none .none.x }}", "<no value>"},
      {"{{ len .list }} {{ len .b }} {{ index .list 1 }} {{ index .m \"k\" }}", "3 3 2 v"},
      {"{{ slice .b 1 2 }} {{ slice .list 1 }} {{ len (slice .list 1) }}", "w [2 3] 2"},
      {"{{ print 1 2 \"a\" \"b\" 3 }}|{{ println 1 \"a\" }}", "1 2ab3|1 a\n"},
      {"{{ printf \"%s-%d-%v-%q-%5.2f|%05d|%-4s|\" .b .a .list .b .f 7 \"x\" }}", "two-1-[1 2 3]-\"two\"- 1.50|00007|x   |"},
      {"{{ .b | printf \"%s!\" | len }}", "4"},
      {"{{ json .m }} {{ json .words }} {{ json \"<a>\" }}", "{\"k\":\"v\",\"z\":1} [\"x\",\"y\"] \"\\u003ca\\u003e\""},
      {"{{ html \"<a>\" }} {{ urlquery \"a b&c\" }} {{ js \"'x'\" }}", "&lt;a&gt; a+b%26c \\'x\\'"},
      {"{{ `raw \"s\"` }} {{ 'a' }} {{ 0x10 }} {{ -3 }}", "raw \"s\" 97 16 -3"},
      {"{{ (index .list 0) }}{{ (.m).k }}", "1v"},
  };
  for (const Row& row : rows) {
    INFO(row.source);
    CHECK(render_go_template(row.source, data) == row.wanted);
  }
}

TEST_CASE("GoTemplate_RefusesWhatTextTemplateRefuses") {
  const Value data = tests::parse_json(R"({"a":1,"b":"two","list":[1]})");
  for (const char* source :
       {"{{", "{{ if }}x{{ end }}", "{{ if .a }}", "{{ end }}", "{{ else }}", "{{ nofunc 1 }}", "{{ $x }}", "{{ .a.b.c }}",
        "{{ eq .a .b }}", "{{ index .list 5 }}", "{{ len .a }}", "{{ template \"no\" }}", "{{ break }}", "{{ \"a }}",
        "{{ .a | .b }}", "{{ 1 2 }}", "{{ /* x }}", "{{ range .b }}{{ end }}", "{{ (.a }}", "{{ slice .b 9 }}", "{{ eq .a }}"}) {
    INFO(source);
    CHECK_THROWS_AS(render_go_template(source, data), EngineError);
  }
}

TEST_CASE("GoTemplate_OldTemplatesStopAfterTheResponse") {
  const std::string source = "{{ if .System }}S:{{ .System }} {{ end }}U:{{ .Prompt }} A:{{ .Response }}<end>\n";
  ChatRequest request;
  request.messages = {{.role = "system", .content = "s"}, {.role = "user", .content = "1"},
                      {.role = "assistant", .content = "a"}, {.role = "user", .content = "2"}};
  const auto chat = make_go_chat_template(source);
  CHECK(chat->render(request) == "S:s U:1 A:a<end>\nU:2 A:");
  request.messages.push_back({.role = "assistant", .content = "half"});
  CHECK(chat->render(request) == "S:s U:1 A:a<end>\nU:2 A:half");
  // Without .Response it is added at the end.
  CHECK(make_go_chat_template("{{ .Prompt }}>")->render(request) == "1>a2>half");
}

TEST_CASE("GoTemplate_ToolsPrintAsOllamasJson") {
  ChatRequest request;
  request.messages = {{.role = "user", .content = "hi"}};
  request.tools = tests::parse_json(
      R"([{"function":{"parameters":{"properties":{"b":{"description":"d","type":"string"},"a":{"type":["string","null"]}},
          "required":["b"],"type":"object"},"description":"x","name":"f"},"type":"function"}])");
  CHECK(make_go_chat_template("{{ range .Messages }}{{ end }}{{ .Tools }}")->render(request) ==
        R"([{"type":"function","function":{"name":"f","description":"x","parameters":{"type":"object","required":["b"],"properties":{"a":{"type":["string","null"]},"b":{"type":"string","description":"d"}}}}}])");
  CHECK(make_go_chat_template("{{ range .Messages }}{{ end }}{{ range .Tools }}{{ range $n, $p := .Function.Parameters.Properties }}{{ $n }}:{{ $p.Type }}:{{ toTypeScriptType $p }} {{ end }}{{ end }}")
            ->render(request) == "a:[string null]:string | null b:string:string ");
  ToolCall call{"1", "f", tests::parse_json(R"({"z":1,"a":[true,null]})")};
  request.messages.push_back({.role = "assistant", .tool_calls = {call}});
  CHECK(make_go_chat_template("{{ range .Messages }}{{ range .ToolCalls }}{{ .Function.Name }}{{ .Function.Arguments }}{{ end }}{{ end }}")
            ->render(request) == R"(f{"a":[true,null],"z":1})");
}

TEST_CASE("GoTemplate_HostileTemplatesEndInAnError", "[T-20][T-21][T-22]") {
  std::string deep, elses = "{{ if .x }}";
  for (int i = 0; i < 100'000; ++i) deep += "(";
  for (int i = 0; i < 10'000; ++i) elses += "{{ else if .x }}";
  std::string ifs;
  for (int i = 0; i < 10'000; ++i) ifs += "{{ if 1 }}";
  for (const std::string& source :
       {"{{ " + deep, elses, ifs, std::string("{{ define \"a\" }}{{ template \"a\" . }}{{ end }}{{ template \"a\" . }}"),
        std::string("{{ range 1000000000 }}{{ end }}"),
        std::string("{{ range 100000 }}{{ range 100000 }}x{{ end }}{{ end }}"),
        std::string("{{ $s := \"xxxxxxxxxxxxxxxx\" }}{{ range 64 }}{{ $s = print $s $s }}{{ end }}{{ $s }}"),
        std::string("{{ printf \"%99999999999d\" 1 }}"), std::string(300 << 10, 'x')}) {
    INFO(source.substr(0, 60));
    CHECK_THROWS_AS(render_go_template(source, ValueMap{}), EngineError);
  }
}

TEST_CASE("GoTemplate_LimitsHoldAtTheirValueAndNotBeyond", "[T-20][T-21][T-22]") {
  TemplateLimits limits;
  limits.max_output_bytes = 10;
  CHECK(render_go_template("{{ range 10 }}x{{ end }}", ValueMap{}, limits).size() == 10);
  CHECK_THROWS_AS(render_go_template("{{ range 11 }}x{{ end }}", ValueMap{}, limits), EngineError);
}
