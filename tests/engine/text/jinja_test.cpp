// The Jinja language piece by piece against Python's Jinja2 (tests/golden/jinja_snippets.json), and what hostile
// templates meet: each limit at its value and one beyond.

#include "engine/text/jinja/jinja.h"
#include "engine/text/jinja/parser.h"
#include "tests/support/catch.h"
#include "tests/support/json_value.h"
#include "tests/support/test_paths.h"

using namespace olx;
using namespace olx::engine;

namespace {

std::string repeated(const std::string& text, int n) {
  std::string out;
  for (int i = 0; i < n; ++i) out += text;
  return out;
}

std::string error_of(const std::string& source, const TemplateLimits& limits = {}) {
  try {
    render_jinja(source, ValueMap{}, limits);
  } catch (const EngineError& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("Jinja_EvaluatesSnippetsAsPythonDoes") {
  const auto path = tests::source_dir() / "tests/golden/jinja_snippets.json";
  const Value table = tests::parse_json(tests::read_text_file(path.string()));
  const Value& variables = *table.find("variables");
  for (const Value& row : *table.find("cases")->as_list()) {
    const std::string& source = *row.find("template")->as_string();
    INFO(source);
    if (const Value* wanted = row.find("ok"))
      CHECK(jinja::JinjaTemplate(source).render(variables, {}, {1768480200, true}) == *wanted->as_string());
    else
      CHECK_THROWS_AS(jinja::JinjaTemplate(source).render(variables), EngineError);
  }
}

TEST_CASE("Jinja_ErrorsNameTheLineAndTheReason") {
  CHECK(error_of("a\nb\n{{ nothing.here }}") == "chat template line 3: 'nothing' is undefined");
  CHECK(error_of("\n{% include 'x' %}") == "chat template line 2: the tag 'include' is not supported in chat templates");
  CHECK(error_of("\n\n{{ raise_exception('no system role') }}") == "chat template line 3: no system role");
  CHECK(error_of("{{ [1] | random }}").find("'random' is not supported") != std::string::npos);
}

TEST_CASE("Jinja_HostileTemplatesEndInAnError", "[T-20][T-21][T-22]") {
  const std::string bombs[] = {
      "{{ range(1000000000) | list }}",
      "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}",
      "{% for a in range(99999) %}{{ range(99999) | sum }}{% endfor %}",
      "{{ 'x' * 1000000000 }}",
      "{{ [0] * 1000000000 }}",
      "{{ ('x' * 1000000).replace('x', 'y' * 1000000) }}",
      "{{ ['x' * 1000000] * 100000 | join }}",
      "{{ 'x' | center(1000000000) }}",
      "{{ '%1000000000d' % 1 }}",
      "{{ '{:1000000000}'.format(1) }}",
      "{{ [1] | tojson(indent=1000000000) }}",
      "{{ 'a\nb' | indent(1000000000) }}",
      "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
      "{% macro m(x) %}{{ x(x) }}{% endmacro %}{{ m(m) }}",
      "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}",
      "{% set l = [] %}{% set _ = l.append(l) %}{{ l }}",
      "{% set l = [] %}{% set _ = l.append(l) %}{{ l | tojson }}",
      "{% set ns = namespace(x=[]) %}{% for i in range(50000) %}{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x }}",
      "{% set ns = namespace(s='x' * 1000) %}{% for i in range(64) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
      "{% set l = [1] %}{% for i in range(64) %}{% set _ = l.extend(l) %}{% endfor %}",
      "{{ 9223372036854775807 + 1 }}",
      "{{ 99999999999999999999 }}",
      "{{ 2 ** 1000000 }}",
      "{{ '" + std::string(300'000, 'x') + "' }}",
      "{{ " + repeated("(", 100'000),
      "{{ " + repeated("[", 100'000),
      "{{ " + repeated("not ", 100'000) + "1 }}",
      "{{ " + repeated("-", 100'000) + "1 }}",
      "{{ " + repeated("a if b else ", 10'000) + "1 }}",
      "{{ 1" + repeated(" + 1", 20'000) + " }}",
      "{{ x" + repeated("|e", 20'000) + " }}",
      repeated("{% if 1 %}", 10'000),
      repeated("{% for x in y %}", 10'000),
      repeated("{{1}}", 51'000),
  };
  for (const std::string& source : bombs) {
    INFO(source.substr(0, 80));
    CHECK(error_of(source) != "");
  }
}

TEST_CASE("Jinja_ReachesNothingOfTheMachine", "[T-23]") {
  for (const char* probe :
       {"''.__class__", "''.__class__.__mro__", "[].__class__.__base__.__subclasses__()", "''['__class__']", "{}.__class__", "(1).__class__",
        "''|attr('__class__')", "self", "self.__init__.__globals__", "cycler.__init__.__globals__.os", "lipsum.__globals__", "config",
        "request", "import_module('os')", "open('/etc/passwd').read()", "os.environ", "environ", "getenv('HOME')", "namespace.__init__",
        "joiner.__init__.__globals__", "''.format.__globals__", "'{0.__class__}'.format(1)", "'{0.__class__.__mro__}'.format('')",
        "range.__class__", "dict.__base__"}) {
    INFO(probe);
    std::string shown;
    try {
      shown = jinja::JinjaTemplate("{{ " + std::string(probe) + " }}").render({});
    } catch (const EngineError&) {
    }
    CHECK(shown.empty());
  }
  for (const char* tag : {"{% include '/etc/passwd' %}", "{% import 'os' as os %}", "{% extends '/etc/passwd' %}", "{% from 'os' import environ %}"})
    CHECK_THROWS_AS(jinja::JinjaTemplate(tag).render({}), EngineError);
}

TEST_CASE("Jinja_LimitsHoldAtTheirValueAndNotBeyond", "[T-20][T-21][T-22]") {
  TemplateLimits limits;
  limits.max_output_bytes = 10;
  CHECK(render_jinja("{% for i in range(10) %}x{% endfor %}", ValueMap{}, limits).size() == 10);
  CHECK(error_of("{% for i in range(11) %}x{% endfor %}", limits).find("limit of 10 bytes") != std::string::npos);
  CHECK(render_jinja("{{ 'x' * 10 }}", ValueMap{}, limits).size() == 10);
  CHECK(error_of("{{ 'x' * 11 }}", limits) != "");
  CHECK(error_of("{{ range(100000) | length }}") == "");
  CHECK(error_of("{{ range(100001) | length }}") != "");
  // Every pair of parentheses is a level of syntax beside the text around it.
  jinja::ParseLimits parse_limits;
  int deepest = 0;
  for (int n = 1; n <= 200; ++n) {
    try {
      jinja::parse("{{ " + repeated("(", n) + "1" + repeated(")", n) + " }}", parse_limits);
      deepest = n;
    } catch (const EngineError&) {
      break;
    }
  }
  CHECK(deepest >= 40);
  CHECK(deepest < parse_limits.max_depth);
  limits = {};
  limits.max_steps = 1000;
  CHECK(error_of("{% for i in range(2000) %}{% endfor %}", limits).find("limit of 1000") != std::string::npos);
  const std::string source(parse_limits.max_source_bytes, 'x');
  CHECK(error_of(source) == "");
  CHECK(error_of(source + "x") != "");
}

TEST_CASE("Jinja_BytesThatAreNotUtf8AreCarriedThrough") {
  const Value variables = ValueMap{{"x", Value(std::string("a\xFF\xC3"))}};
  CHECK(render_jinja("{{ x }}{{ x | length }}{{ x[1] }}{{ x | upper }}", variables) == "a\xFF\xC3" "3\xFF" "A\xFF\xC3");
}

TEST_CASE("JinjaChatTemplate_BuildsTheVariablesOfApplyChatTemplate") {
  ChatRequest request;
  request.messages = {{.role = "system", .content = "S"}, {.role = "user", .content = "U"}};
  ToolCall call{"id1", "f", tests::parse_json(R"({"b":1,"a":2})")};
  request.messages.push_back({.role = "assistant", .thinking = "T", .tool_calls = {call}});
  request.messages.push_back({.role = "tool", .content = "R", .tool_name = "f", .tool_call_id = "id1"});
  const auto render = [&](const char* source) { return make_jinja_chat_template(source, "<s>", "</s>")->render(request); };
  CHECK(render("{{ bos_token }}{% for m in messages %}{{ m.role }}:{{ m.content }};{% endfor %}{{ eos_token }}") ==
        "<s>system:S;user:U;assistant:;tool:R;</s>");
  CHECK(render("{{ messages[2].tool_calls | tojson }}{{ messages[2].reasoning_content }}{{ messages[3].name }}") ==
        R"([{"id": "id1", "type": "function", "function": {"name": "f", "arguments": {"b": 1, "a": 2}}}]Tf)");
  CHECK(render("{{ tools is none }}{{ add_generation_prompt }}{{ enable_thinking is defined }}") == "TrueTrueFalse");
  request.think = false;
  CHECK(render("{{ enable_thinking }}") == "False");
}

TEST_CASE("JinjaChatTemplate_MovesARefusedSystemTextIntoTheFirstUserMessage") {
  ChatRequest request;
  request.messages = {{.role = "system", .content = "S"}, {.role = "user", .content = "U"}};
  const char* refuses =
      "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
      "{{ m.role }}:{{ m.content }};{% endfor %}";
  CHECK(make_jinja_chat_template(refuses, "", "")->render(request) == "user:S\n\nU;");
  CHECK_THROWS_AS(make_jinja_chat_template("{{ raise_exception('x') }}", "", "")->render(request), EngineError);
}
