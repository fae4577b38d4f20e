#include "engine/grammar/compile.h"

#include "tests/engine/grammar/grammar_support.h"
#include "tests/support/catch.h"

using namespace olx::engine;
using namespace olx::tests;

namespace {

OutputConstraint with_schemas(std::string grammar, const std::vector<std::pair<std::string, std::string>>& schemas) {
  OutputConstraint constraint = gbnf(std::move(grammar));
  for (const auto& [name, text] : schemas) constraint.schemas.emplace_back(name, to_value(boost::json::parse(text)));
  return constraint;
}

}  // namespace

TEST_CASE("Compile_SchemasAreRulesOfTheGrammar") {
  const OutputConstraint call = with_schemas(
      "root ::= \"<tool_call>\\n{\\\"name\\\": \" (\"\\\"f\\\", \\\"arguments\\\": \" f-args | \"\\\"g\\\", \\\"arguments\\\": \" g-args) \"}\\n</tool_call>\"",
      {{"f-args", R"({"type":"object","properties":{"city":{"enum":["Rome","Oslo"]}},"required":["city"]})"},
       {"g-args", R"({"$ref":"#/$defs/x","$defs":{"x":{"type":"object","properties":{"n":{"type":"integer","minimum":1,"maximum":3}},"required":["n"]}}})"}});
  CHECK(matches(call, "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"city\": \"Oslo\"}}\n</tool_call>"));
  CHECK(matches(call, "<tool_call>\n{\"name\": \"g\", \"arguments\": {\"n\":3}}\n</tool_call>"));
  CHECK_FALSE(matches(call, "<tool_call>\n{\"name\": \"g\", \"arguments\": {\"city\": \"Oslo\"}}\n</tool_call>"));
  CHECK_FALSE(matches(call, "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"city\": \"Oslo\"}}"));
  // The rules of a schema may also be root itself, or nobody's.
  CHECK(matches(with_schemas("", {{"root", R"({"const":1})"}}), "1"));
  CHECK(matches(with_schemas("root ::= \"a\"", {{"unused", R"({"const":1})"}}), "a"));
}

TEST_CASE("Compile_NamesOfSchemasAndRulesMustNotMeet") {
  CHECK(refusal(with_schemas("root ::= a\na ::= \"x\"", {{"a", "{}"}})).find("'a' is defined twice") != std::string::npos);
  CHECK(refusal(with_schemas("root ::= a", {{"a", "{}"}, {"a", "{}"}})).find("'a' is defined twice") != std::string::npos);
  CHECK(refusal(with_schemas("root ::= a b", {{"a", "{}"}})).find("'b' is not defined") != std::string::npos);
}

TEST_CASE("Compile_SchemasShareTheLimitOfBytes") {
  OutputConstraint constraint = gbnf("root ::= a b");
  for (const char* name : {"a", "b"}) constraint.schemas.emplace_back(name, ValueMap{{"description", std::string(131'000, 'x')}, {"type", "null"}});
  CHECK(refusal(constraint) == "");
  constraint.schemas.emplace_back("c", ValueMap{{"description", std::string(1000, 'x')}, {"type", "null"}});
  CHECK(refusal(constraint).find("the schema is too long: expected at most 262144 bytes") != std::string::npos);
}

TEST_CASE("Compile_MarksOfTheFreePartHaveALimit") {
  OutputConstraint constraint = gbnf("root ::= \"a\"");
  constraint.free_open = std::string(256, '<');
  constraint.free_close = std::string(256, 'a') ;
  CHECK(refusal(constraint) == "");
  constraint.free_close += "a";
  CHECK(refusal(constraint).find("longer than 256 bytes") != std::string::npos);
}
