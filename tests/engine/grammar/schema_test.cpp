#include "engine/grammar/schema/json_schema.h"

#include "tests/engine/grammar/grammar_support.h"
#include "tests/support/catch.h"

using namespace olx::engine;
using namespace olx::tests;

namespace {

struct Row {
  const char* schema;
  std::vector<std::string> yes, no;
};

void check(const std::vector<Row>& rows) {
  for (const Row& row : rows) {
    INFO(row.schema);
    const std::string said = refusal(schema(row.schema));
    INFO(said);
    REQUIRE(said.empty());
    Matcher matcher(compile_constraint(schema(row.schema)));
    for (const std::string& text : row.yes) {
      INFO("should match: " << text);
      CHECK(matches(matcher, text));
    }
    for (const std::string& text : row.no) {
      INFO("should not match: " << text);
      CHECK_FALSE(matches(matcher, text));
    }
  }
}

}  // namespace

TEST_CASE("Schema_TypesAndConstants") {
  check({
      {R"({"type":"null"})", {"null"}, {"nul", "", "0", "nullnull"}},
      {R"({"type":"boolean"})", {"true", "false"}, {"True", "1", "\"true\""}},
      {R"({"type":"integer"})", {"0", "-7", "123456789012345"}, {"01", "-", "1.0", "1e3", "+1", "1234567890123456"}},
      {R"({"type":"number"})", {"0", "-0.5", "3.25", "1e9", "-2.5E-10"}, {"01", ".5", "1.", "1e", "NaN", "1e999"}},
      {R"({"type":"string"})", {R"("")", R"("aé€😀")", R"("\n\"\\\/\u00e9\uFFFD")"}, {"\"", "a", "\"\n\"", R"("\x")", R"("\u12")", "\"\xFF\"", R"("\ud800")", R"("\uDfff")"}},
      {R"({"type":["string","null","integer"]})", {"null", "12", "\"a\""}, {"true", "1.5", "{}"}},
      {R"({"type":["integer","number"]})", {"1", "1.5"}, {"\"1\""}},
      {R"({"type":"string","nullable":true})", {"null", "\"\""}, {"1"}},
      {R"({"const":{"a":[1,2.5,"x\n",null,true]}})", {"{\"a\":[1,2.5,\"x\\n\",null,true]}"}, {"{}", "{\"a\":[1,2.5,\"x\"]}"}},
      {R"({"enum":["red","green",3,null,"é\""]})", {"\"red\"", "\"green\"", "3", "null", "\"é\\\"\""}, {"red", "\"blue\"", "4", "\"\""}},
      {R"({"type":"string","enum":["a",1,null]})", {"\"a\""}, {"1", "null"}},
      {R"({"type":"number","enum":["a",1,2.5,null]})", {"1", "2.5"}, {"\"a\""}},
      {R"({"enum":[1,2,3],"const":2})", {"2"}, {"1", "3"}},
      {R"({"title":"t","description":"d","default":1,"examples":[1],"$schema":"x","$id":"y","$comment":"c","deprecated":true,"readOnly":true,"x-more":1,"type":"null"})", {"null"}, {"1"}},
      {R"(true)", {"1", "{}", "[[1, {\"a\": null}]]", "\"\""}, {"", "1 ", " 1", "{,}", "[1,]"}},
      {R"({})", {"1", "{\"a\":{\"b\":[]}}"}, {"}"}},
  });
}

TEST_CASE("Schema_ObjectsKeepTheOrderAndMayLeaveOutWhatIsOptional") {
  check({
      {R"({"type":"object"})", {"{}", "{ }", "{\"a\": 1, \"b\":[true]}", "{\n  \"a\": {\n    \"b\": 1\n  }\n}"}, {"[]", "{\"a\"}", "{\"a\":1,}", "{a:1}", "{  }", "{\"a\" : 1}"}},
      {R"({"type":"object","properties":{"a":{"type":"integer"},"b":{"type":"integer"},"c":{"type":"integer"}},"required":["b"]})",
       {"{\"b\":1}", "{\"a\":1,\"b\":2}", "{\"b\":1, \"c\":2}", "{\"a\":1,\"b\":2,\"c\":3}"},
       {"{}", "{\"a\":1}", "{\"a\":1,\"c\":2}", "{\"b\":1,\"a\":2}", "{\"b\":1,\"b\":2}", "{\"b\":1,\"d\":2}", "{,\"b\":1}", "{\"b\":\"1\"}"}},
      {R"({"properties":{"a":{},"b":{}},"additionalProperties":false})", {"{}", "{\"a\":null}", "{\"b\":[]}", "{\"a\":1,\"b\":2}"}, {"{\"c\":1}", "1", "{\"a\":1,}"}},
      {R"({"properties":{"a":{"const":1},"ab":{"const":2}},"additionalProperties":{"type":"string"}})",
       {"{}", "{\"a\":1}", "{\"a\":1,\"ab\":2,\"abc\":\"x\",\"b\":\"y\"}", "{\"ac\":\"\"}", "{\"é\":\"\"}"},
       {"{\"a\":\"x\"}", "{\"ab\":\"x\"}", "{\"a\":1,\"a\":\"x\"}", "{\"x\":\"\",\"a\":1}", "{\"\\u0061\":\"x\"}", "{\"abc\":1}"}},
      {R"({"properties":{"a":{"const":1}},"additionalProperties":true,"required":["a"]})", {"{\"a\":1}", "{\"a\":1,\"b\":[]}"}, {"{}", "{\"b\":1}"}},
      {R"({"required":["x","y"]})", {"{\"x\":1,\"y\":[]}", "{\"x\":1,\"y\":2,\"z\":3}"}, {"{}", "{\"x\":1}", "{\"x\":1,\"y\":2,\"x\":3}"}},
      {R"({"properties":{"a":{"type":"null"}},"required":["z"]})", {"{\"z\":0}", "{\"a\":null,\"z\":0}"}, {"{\"a\":null}", "{\"z\":0,\"b\":1}"}},
      {R"({"additionalProperties":{"type":"integer"},"minProperties":1,"maxProperties":2})", {"{\"a\":1}", "{\"a\":1,\"b\":2}"}, {"{}", "{\"a\":\"\"}", "{\"a\":1,\"b\":2,\"c\":3}", "{\"\":1}"}},
      {R"({"type":"object","properties":{"a b\"c\n":{"const":1}},"required":["a b\"c\n"]})", {"{\"a b\\\"c\\n\":1}"}, {"{\"a b\":1}"}},
      {R"({"type":"object","properties":{"a":false,"b":{"const":1}}})", {"{}", "{\"b\":1}"}, {"{\"a\":1}"}},
      {R"({"properties":{"a":{"const":1}},"additionalProperties":{"const":0},"maxProperties":2})", {"{}", "{\"a\":1,\"x\":0}", "{\"x\":0}"}, {"{\"a\":1,\"x\":0,\"y\":0}", "{\"x\":0,\"y\":0}"}},
      {R"({"type":"object","properties":{}})", {"{}"}, {"{\"a\":1}"}},
      {R"({"type":"object","additionalProperties":false})", {"{}"}, {"{\"a\":1}"}},
  });
}

TEST_CASE("Schema_Arrays") {
  check({
      {R"({"type":"array"})", {"[]", "[1, \"a\",{}]", "[[[]]]"}, {"[", "[1 2]", "{}"}},
      {R"({"type":"array","items":{"type":"integer"}})", {"[]", "[1]", "[1, 2,3]", "[\n  1,\n  2\n]"}, {"[\"a\"]", "[1,]"}},
      {R"({"items":{"const":0},"minItems":2,"maxItems":4})", {"[0,0]", "[0,0,0,0]"}, {"[]", "[0]", "[0,0,0,0,0]"}},
      {R"({"items":{"const":0},"minItems":3})", {"[0,0,0]", "[0,0,0,0,0,0]"}, {"[0,0]"}},
      {R"({"items":{"const":0},"maxItems":0})", {"[]", "[ ]"}, {"[0]"}},
      {R"({"items":{"const":0},"maxItems":1})", {"[]", "[0]"}, {"[0,0]"}},
      {R"({"items":false})", {"[]"}, {"[1]"}},
      {R"({"prefixItems":[{"const":1},{"const":2},{"const":3}]})", {"[]", "[1]", "[1,2]", "[1,2,3]"}, {"[2]", "[1,3]", "[1,2,3,4]"}},
      {R"({"prefixItems":[{"const":1},{"const":2}],"minItems":2,"items":false})", {"[1,2]"}, {"[]", "[1]", "[1,2,3]"}},
      {R"({"prefixItems":[{"const":1},{"const":2}],"minItems":3,"maxItems":4,"items":{"const":9}})", {"[1,2,9]", "[1,2,9,9]"}, {"[1,2]", "[1,2,9,9,9]"}},
      {R"({"prefixItems":[{"const":1},{"const":2}],"minItems":1,"items":{"const":9}})", {"[1]", "[1,2]", "[1,2,9,9,9]"}, {"[]", "[1,9]"}},
      {R"({"prefixItems":[{"const":1},{"const":2}],"maxItems":1})", {"[]", "[1]"}, {"[1,2]"}},
      {R"({"prefixItems":[{"const":1}],"minItems":2})", {"[1,null]"}, {"[1]", "[1,2,3]"}},
      {R"({"items":[{"const":1},{"const":2}],"additionalItems":false,"minItems":2})", {"[1,2]"}, {"[1]", "[1,2,3]"}},
      {R"({"type":"array","items":{"const":1},"uniqueItems":false})", {"[1,1]"}, {}},
  });
}

TEST_CASE("Schema_Strings") {
  check({
      {R"({"type":"string","minLength":2,"maxLength":3})", {R"("ab")", R"("é€😀")", R"("\n\"\u00e9")"}, {R"("a")", R"("abcd")", R"("")"}},
      {R"({"maxLength":0})", {R"("")"}, {R"("a")"}},
      {R"({"pattern":"^[a-z]{2}-\\d+$"})", {R"("ab-1")", R"("zz-0123")"}, {R"("ab-")", R"("abc-1")", R"("ab-1 ")"}},
      {R"({"pattern":"b"})", {R"("b")", R"("abc")", R"("\"bé")"}, {R"("")", R"("acd")"}},
      {R"({"pattern":"^a|b$"})", {R"("a")", R"("axx")", R"("xxb")"}, {R"("xa")", R"("bx")"}},
      {R"({"pattern":"^(foo|bar)*(?:x|y)?$"})", {R"("")", R"("foobarx")", R"("y")"}, {R"("fo")", R"("xy")"}},
      {R"({"pattern":"^\"\\\\\\n\\.\\/$"})", {R"("\"\\\n./")"}, {R"("\"\\n./")"}},
      {R"({"pattern":"^[^a-y0-9]+?$"})", {R"("z")", R"("ZÉ\"\\")"}, {R"("a")", R"("z0")", R"("")"}},
      {R"({"pattern":"^[\\w.+-]{1,3}\\s?\\u0041\\x42\\u{1F600}$"})", {R"("a.-AB😀")", R"("_ AB😀")", R"("_\tAB😀")"}, {R"("AB😀")", R"("aaaaAB😀")"}},
      {R"({"pattern":"^.{3}$"})", {R"("é\"x")"}, {R"("ab")", R"("ab\n")"}},
      {R"({"pattern":"^[a-z]+$","maxLength":3,"minLength":2})", {R"("ab")", R"("abc")"}, {R"("a")", R"("abcd")"}},
      {R"({"pattern":"^x[0-9]*y$","maxLength":4})", {R"("xy")", R"("x12y")"}, {R"("x123y")"}},
      {R"({"pattern":"^[A-Z]{3}$","maxLength":10})", {R"("ABC")"}, {R"("ABCD")"}},
      {R"({"pattern":"a","minLength":0})", {R"("cat")"}, {R"("dog")"}},
      {R"({"format":"date"})", {R"("2024-02-29")", R"("2000-02-29")", R"("1999-12-31")", R"("2023-04-30")"},
       {R"("2023-02-29")", R"("1900-02-29")", R"("2023-04-31")", R"("2023-13-01")", R"("2023-00-10")", R"("2023-1-01")", R"("2023-01-32")"}},
      {R"({"format":"time"})", {R"("23:59:59Z")", R"("00:00:00.123+05:30")"}, {R"("24:00:00Z")", R"("12:60:00Z")", R"("12:00:00")", R"("12:00Z")"}},
      {R"({"format":"date-time"})", {R"("2024-02-29T10:00:00Z")"}, {R"("2024-02-29 10:00:00Z")", R"("2024-02-30T10:00:00Z")"}},
      {R"({"format":"duration"})", {R"("P3D")", R"("PT5M")", R"("P1DT2H3M4S")", R"("P2W")"}, {R"("P")", R"("PT")", R"("P1H")", R"("PT1H1S")"}},
      {R"({"format":"uuid"})", {R"("123e4567-E89b-12d3-a456-426614174000")"}, {R"("123e4567e89b12d3a456426614174000")"}},
      {R"({"format":"ipv4"})", {R"("0.10.199.255")"}, {R"("256.1.1.1")", R"("01.1.1.1")", R"("1.1.1")"}},
      {R"({"format":"ipv6"})", {R"("2001:db8:0:0:0:0:0:1")"}, {R"("1:2:3")", R"("12345:0:0:0:0:0:0:1")"}},
      {R"({"format":"email"})", {R"("a.b@example.com")"}, {R"("a@b")", R"("@example.com")", R"("a..b@example.com")"}},
      {R"({"format":"hostname"})", {R"("a-b.example.com")"}, {R"("-a.com")", R"("a-.com")", R"("1.2")"}},
      {R"({"format":"uri"})", {R"("https://example.com/a%20b?x=1#y")"}, {R"("example.com")", R"("https://")", R"("https://a.b/ c")"}},
      {R"({"type":"string","format":"uri","minLength":1,"maxLength":2083})", {R"("ftp://a.bc")"}, {}},
      {R"({"type":"string","format":"password","maxLength":2})", {R"("ab")"}, {R"("abc")"}},
      {R"({"format":"uuid","minLength":36,"maxLength":40})", {R"("123e4567-e89b-12d3-a456-426614174000")"}, {}},
  });
}

TEST_CASE("Schema_Numbers") {
  check({
      {R"({"type":"integer","minimum":-3,"maximum":12})", {"-3", "-1", "0", "7", "10", "12"}, {"-4", "13", "-0", "00", "100", "-10"}},
      {R"({"type":"integer","minimum":98,"maximum":1103})", {"98", "99", "100", "999", "1000", "1099", "1103"}, {"97", "9", "1104", "1110", "2000", "10000"}},
      {R"({"type":"integer","exclusiveMinimum":0,"exclusiveMaximum":3})", {"1", "2"}, {"0", "3"}},
      {R"({"type":"integer","minimum":2,"exclusiveMinimum":true,"maximum":5})", {"3", "5"}, {"2", "6"}},
      {R"({"type":"integer","minimum":100})", {"100", "101", "123456789012345"}, {"99", "0", "-100"}},
      {R"({"type":"integer","maximum":-10})", {"-10", "-11", "-999"}, {"-9", "0", "10"}},
      {R"({"type":"integer","minimum":1.5,"maximum":2.5})", {"2"}, {"1", "3", "2.0"}},
      {R"({"type":"integer","minimum":0,"maximum":9223372036854775807})", {"9223372036854775807", "0"}, {"9223372036854775808", "-1"}},
      {R"({"type":"integer","multipleOf":5})", {"0", "5", "-15", "1000"}, {"1", "7", "12"}},
      {R"({"multipleOf":7,"minimum":10,"maximum":100})", {"14", "98"}, {"7", "15", "99", "105", "14.0"}},
      {R"({"type":"number","minimum":0.5,"maximum":2.75})", {"0.5", "0.50", "0.51", "1", "1.999", "2", "2.75", "2.7", "2.749"}, {"0.4", "0", "0.49", "2.76", "2.751", "3", "-1", "0.5e1", "2."}},
      {R"({"type":"number","exclusiveMinimum":0,"maximum":1})", {"0.001", "1", "1.0", "0.999"}, {"0", "0.0", "1.01", "-0.5"}},
      {R"({"type":"number","exclusiveMaximum":1})", {"0.99", "0", "-5.5"}, {"1", "1.0"}},
      {R"({"type":"number","minimum":-1.5,"maximum":-0.25})", {"-1.5", "-1", "-0.25", "-0.3"}, {"-1.6", "-0.2", "0", "-2"}},
      {R"({"type":"number","minimum":10,"maximum":10})", {"10", "10.0"}, {"9.9", "10.01"}},
      {R"({"type":"integer","format":"int32"})", {"2147483647", "-2147483648"}, {"2147483648", "-2147483649"}},
      {R"({"type":"integer","format":"int64","minimum":0})", {"9223372036854775807"}, {"9223372036854775808", "-1"}},
      {R"({"type":"number","format":"double"})", {"1.5"}, {"x"}},
      {R"({"type":"integer","maximum":18446744073709551615})", {"18446744073709549568"}, {"18446744073709551616"}},
      {R"({"minimum":1e3,"maximum":1.5e3})", {"1000", "1500", "1234.5"}, {"999.9", "1500.1"}},
  });
}

TEST_CASE("Schema_ReferencesAndCombinations") {
  check({
      {R"({"$ref":"#/$defs/a","$defs":{"a":{"type":"integer","maximum":5,"minimum":0}}})", {"3"}, {"6"}},
      {R"({"$ref":"#/definitions/a~1b%20c","definitions":{"a/b c":{"const":1}}})", {"1"}, {"2"}},
      {R"({"items":{"$ref":"#/properties/x/prefixItems/1"},"type":"array","properties":{"x":{"prefixItems":[{},{"const":7}]}}})", {"[7,7]"}, {"[1]"}},
      {R"({"type":"object","properties":{"v":{"type":"integer"},"next":{"$ref":"#"}},"required":["v"]})", {"{\"v\":1}", "{\"v\":1,\"next\":{\"v\":2,\"next\":{\"v\":3}}}"}, {"{\"next\":{\"v\":1}}", "{\"v\":1,\"next\":{}}"}},
      {R"({"$defs":{"tree":{"anyOf":[{"type":"null"},{"type":"array","prefixItems":[{"$ref":"#/$defs/tree"},{"$ref":"#/$defs/tree"}],"minItems":2,"items":false}]}},"$ref":"#/$defs/tree"})",
       {"null", "[null,null]", "[[null,null],[null,[null,null]]]"}, {"[]", "[null]", "[null,null,null]"}},
      {R"({"anyOf":[{"type":"integer"},{"type":"string","maxLength":1}]})", {"12", "\"a\""}, {"\"ab\"", "1.5"}},
      {R"({"oneOf":[{"type":"integer"},{"type":"string"},{"type":"object","properties":{"k":{"const":"a"}},"required":["k"]},{"type":"object","properties":{"k":{"const":"b"},"v":{"type":"null"}},"required":["k","v"]}]})",
       {"1", "\"x\"", "{\"k\":\"a\"}", "{\"k\":\"b\",\"v\":null}"}, {"{\"k\":\"b\"}", "{}", "null"}},
      {R"({"oneOf":[{"minimum":10,"type":"integer"},{"maximum":5,"type":"integer"}]})", {"10", "-3", "5"}, {"7"}},
      {R"({"type":"object","properties":{"a":{"const":1},"b":{"const":2}},"anyOf":[{"required":["a"]},{"required":["b"]}]})", {"{\"a\":1}", "{\"b\":2}", "{\"a\":1,\"b\":2}"}, {"{}"}},
      {R"({"allOf":[{"properties":{"a":{"type":"integer"}},"required":["a"]},{"properties":{"a":{"minimum":3,"maximum":5},"b":{"const":1}}}],"type":"object"})", {"{\"a\":3}", "{\"a\":5,\"b\":1}"}, {"{\"a\":2}", "{\"b\":1}", "{\"a\":\"x\"}"}},
      {R"({"allOf":[{"$ref":"#/$defs/base"},{"properties":{"b":{"const":2}},"required":["b"]}],"$defs":{"base":{"type":"object","properties":{"a":{"const":1}},"required":["a"]}}})", {"{\"a\":1,\"b\":2}"}, {"{\"a\":1}", "{\"b\":2}"}},
      {R"({"$ref":"#/$defs/s","maxLength":2,"$defs":{"s":{"type":"string","minLength":1}}})", {"\"ab\""}, {"\"\"", "\"abc\""}},
      {R"({"allOf":[{"type":["string","integer"]},{"type":["integer","null"]}]})", {"4"}, {"\"a\"", "null"}},
      {R"({"allOf":[{"type":"number"},{"type":"integer"}],"minimum":1,"maximum":2})", {"1", "2"}, {"1.5"}},
      {R"({"allOf":[{"enum":[1,2,3]},{"enum":[2,3,4]}]})", {"2", "3"}, {"1", "4"}},
      {R"({"allOf":[{"properties":{"a":{"const":1}},"additionalProperties":false},{"properties":{"b":{"const":2}}}]})", {"{}", "{\"a\":1}"}, {"{\"b\":2}"}},
      {R"({"anyOf":[false,{"const":1},{"allOf":[{"type":"string"},{"type":"null"}]}]})", {"1"}, {"null", "\"\""}},
  });
}

TEST_CASE("Schema_WhatCannotBeHeldToIsRefusedByName") {
  struct Refused {
    const char *schema, *says;
  };
  const Refused rows[] = {
      {R"({"not":{"type":"null"}})", "'not'"},
      {R"({"type":"object","patternProperties":{"^a":{}}})", "'patternProperties'"},
      {R"({"properties":{"a":{"if":{},"then":{}}}})", "'if'"},
      {R"({"items":{"contains":{}}})", "'contains'"},
      {R"({"propertyNames":{}})", "'propertyNames'"},
      {R"({"dependentRequired":{}})", "'dependentRequired'"},
      {R"({"unevaluatedProperties":false})", "'unevaluatedProperties'"},
      {R"({"$anchor":"a"})", "'$anchor'"},
      {R"({"$dynamicRef":"#a"})", "'$dynamicRef'"},
      {R"({"type":"array","uniqueItems":true})", "'uniqueItems'"},
      {R"({"type":"string","format":"idn-email"})", "'idn-email'"},
      {R"({"format":"color"})", "'color'"},
      {R"({"type":"number","multipleOf":0.1})", "'multipleOf'"},
      {R"({"type":"integer","multipleOf":1001})", "'multipleOf'"},
      {R"({"type":"integer","multipleOf":0})", "'multipleOf'"},
      {R"({"enum":[1],"minimum":1})", "'minimum' beside 'enum'"},
      {R"({"pattern":"a","format":"date"})", "'pattern' together with 'format'"},
      {R"({"pattern":"^(ab|c)+$","maxLength":5})", "'pattern' together with"},
      {R"({"minProperties":2})", "'minProperties'"},
      {R"({"properties":{"a":{},"b":{}},"maxProperties":1})", "'maxProperties'"},
      {R"({"type":"text"})", "'type' must be one of"},
      {R"({"type":7})", "'type' must be one of"},
      {R"({"minLength":-1})", "'minLength' must be a whole number"},
      {R"({"maxItems":1.5})", "'maxItems' must be a whole number"},
      {R"({"minimum":"1"})", "'minimum' must be a number"},
      {R"({"maximum":1e300})", "at most 40 digits"},
      {R"({"enum":1})", "'enum' must be a list"},
      {R"({"required":"a"})", "'required' must be a list"},
      {R"({"required":[1]})", "'required' must be a list of strings"},
      {R"({"properties":[]})", "'properties' must be an object"},
      {R"({"prefixItems":{}})", "'prefixItems' must be a list"},
      {R"({"anyOf":[]})", "'anyOf' must be a list that is not empty"},
      {R"({"$ref":"#/$defs/none"})", "leads nowhere"},
      {R"({"$ref":"http://example.com/x"})", "is not in this schema"},
      {R"({"$ref":"other.json#/a"})", "is not in this schema"},
      {R"({"$ref":"#anchor"})", "is not in this schema"},
      {R"({"$ref":1})", "'$ref' must be a string"},
      {R"({"properties":{"a":1}})", "expected an object, true or false, got 1"},
      {R"({"oneOf":[{"type":"integer"},{"type":"number"}]})", "'oneOf': a value may satisfy both alternative 1 and 2"},
      {R"({"oneOf":[{"type":"null"},{"type":"string"},{"type":"string","maxLength":3}]})", "alternative 2 and 3"},
      {R"({"oneOf":[{"properties":{"a":{}}},{"properties":{"b":{}}}]})", "'oneOf'"},
      {R"({"oneOf":[{"type":"object","required":["a","other"],"properties":{"b":{}}},{"type":"object","required":["other"],"properties":{}}]})", "'oneOf'"},
      {R"({"allOf":[{"pattern":"a"},{"pattern":"b"}]})", "two different 'pattern'"},
      {R"({"enum":[]})", "matches no text"},
      {R"(false)", "matches no text"},
      {R"({"type":"integer","minimum":5,"maximum":4})", "matches no text"},
      {R"({"type":"integer","minimum":1.2,"maximum":1.8})", "matches no text"},
      {R"({"minLength":3,"maxLength":2,"type":"string"})", "matches no text"},
      {R"({"type":"object","required":["a"],"additionalProperties":false})", "matches no text"},
      {R"({"type":"object","properties":{"a":{"$ref":"#"}},"required":["a"]})", "matches no text"},
      {R"({"items":false,"minItems":1})", "matches no text"},
  };
  for (const Refused& row : rows) {
    const std::string said = refusal(schema(row.schema));
    INFO(row.schema << " -> " << said);
    CHECK(said.find(row.says) != std::string::npos);
  }
}

TEST_CASE("Schema_PatternsSayWhatTheyCannotDo") {
  for (const char* pattern : {"(?=a)", "(?!a)", "(?<=a)", "(?<!a)", "(?i)a", "(a)\\1", "\\bx", "\\p{L}", "a**", "a{2}{3}", "*a", "(a", "a)", "[a", "a{3,2}", "a{2001}", "^a^", "a$b", "(^a)", "\\",
                              "[z-a]", "\\u12", "\\u{110000}", "[^\\D]", "(a{1,1000}){1,101}"}) {
    const std::string said = refusal(schema(R"({"pattern":)" + boost::json::serialize(boost::json::value(pattern)) + "}"));
    INFO(pattern << " -> " << said);
    CHECK(said.starts_with("pattern '"));
  }
}

// T-34: expressions that make a backtracking engine run for ever are read and matched in no time.
TEST_CASE("Schema_T34_NoPatternIsSlow") {
  for (const char* pattern : {"^(a+)+$", "^(a|aa)+$", "^(a*)*b$", "^(a|a?)+$", "^(([a-z])+.)+[A-Z]([a-z])+$", "(.*a){20}", "^(.*)*$", "((a?){50}){40}"}) {
    INFO(pattern);
    Matcher matcher(compile_constraint(schema(R"({"pattern":)" + boost::json::serialize(boost::json::value(pattern)) + "}")));
    Matcher::State state = matcher.next(matcher.start(), '"');
    for (int i = 0; i < 5000 && state != Matcher::kDead; ++i) {
      matcher.begin_token(state);
      state = matcher.next(state, 'a');
    }
    CHECK_FALSE(matcher.was_cut());
  }
}

namespace {

std::string nested(int depth, const std::string& open, const std::string& close) {
  std::string text;
  for (int i = 0; i < depth; ++i) text += open;
  text += "{}";
  for (int i = 0; i < depth; ++i) text += close;
  return text;
}

}  // namespace

// T-26: deep, circular and huge schemas.
TEST_CASE("Schema_T26_DepthAndSizeHaveLimits") {
  const auto deep = [](int n) {  // n schemas around the innermost one
    Value value = ValueMap{};
    for (int i = 0; i < n; ++i) value = ValueMap{{"items", std::move(value)}};
    OutputConstraint constraint = gbnf("root ::= answer");
    constraint.schemas.emplace_back("answer", std::move(value));
    return constraint;
  };
  CHECK(refusal(deep(64)) == "");
  CHECK(refusal(deep(65)).find("deeper than 64") != std::string::npos);
  CHECK(refusal(deep(2000)).find("deeper than 64") != std::string::npos);
  // References have no depth of their own, in chains and in circles.
  std::string chain = R"({"$ref":"#/$defs/d0","$defs":{)";
  for (int i = 0; i < 500; ++i) chain += "\"d" + std::to_string(i) + R"(":{"items":{"$ref":"#/$defs/d)" + std::to_string(i + 1) + "\"}},";
  CHECK(refusal(schema(chain + R"("d500":{"const":1}}})")) == "");
  CHECK(refusal(schema(chain + R"("d500":{"$ref":"#/$defs/d0"}}})")) == "");
  CHECK(refusal(schema(R"({"$ref":"#"})")).find("matches no text") != std::string::npos);
  CHECK(refusal(schema(R"({"$ref":"#/$defs/a","$defs":{"a":{"$ref":"#/$defs/b"},"b":{"$ref":"#/$defs/a"}}})")).find("matches no text") != std::string::npos);
  CHECK(refusal(schema(R"({"anyOf":[{"$ref":"#"},{"type":"null"}]})")).find("left recursion") != std::string::npos);
  CHECK(refusal(schema(R"({"allOf":[{"$ref":"#"},{"type":"null"}]})")).find("nested deeper than 64") != std::string::npos);
  CHECK(refusal(schema(R"({"oneOf":[{"required":["a"],"type":"object","properties":{"a":{"const":1}}},{"required":["a"],"type":"object","properties":{"a":{"$ref":"#"}}}]})")) == "");
  CHECK(refusal(schema(nested(15, R"({"allOf":[)", "]}"))) == "");
  // Bytes.
  OutputConstraint large = schema(R"({"type":"null"})");
  large.schemas[0].second = ValueMap{{"description", std::string(262'000, 'x')}, {"type", "null"}};
  CHECK(refusal(large) == "");
  large.schemas[0].second = ValueMap{{"description", std::string(262'144, 'x')}, {"type", "null"}};
  CHECK(refusal(large).find("the schema is too long") != std::string::npos);
  // Wide ones: refused or done, and soon.
  std::string properties = R"({"type":"object","properties":{)", choices = R"({"anyOf":[)";
  for (int i = 0; i < 10'000; ++i) {
    properties += (i ? ",\"p" : "\"p") + std::to_string(i) + "\":{}";
    choices += (i ? "," : "") + std::string(R"({"const":)") + std::to_string(i) + "}";
  }
  const std::string said = refusal(schema(properties + "}}"));
  CHECK(said.find("more than 20000") != std::string::npos);
  CHECK(refusal(schema(choices + "]}")) == "");
  std::string values = "{\"enum\":[0";
  for (int i = 1; i < 10'000; ++i) values += "," + std::to_string(i);
  CHECK(matches(schema(values + "]}"), "9999"));
  CHECK_FALSE(matches(schema(values + "]}"), "10000"));
}

// T-27: the grammar of n optional properties is linear in n.
TEST_CASE("Schema_T27_OptionalPropertiesArePolynomial") {
  size_t last = 0;
  for (int n : {8, 16, 32, 64, 512}) {
    std::string text = R"({"type":"object","properties":{)";
    for (int i = 0; i < n; ++i) text += (i ? ",\"p" : "\"p") + std::to_string(i) + R"(":{"type":"null"})";
    const OutputConstraint constraint = schema(text + "}}");
    RuleSet rules;
    size_t n_bytes = 1 << 20;
    (void)compile_schema(constraint.schemas[0].second, rules, n_bytes);
    CHECK(rules.rules().size() <= static_cast<size_t>(4 * n + 10));
    CHECK(rules.n_nodes() > last);
    CHECK(rules.n_nodes() < static_cast<size_t>(60 * n + 200));
    last = rules.n_nodes();
    CHECK(matches(constraint, R"({"p1":null,"p3":null,"p)" + std::to_string(n - 1) + R"(":null})"));
    CHECK_FALSE(matches(constraint, R"({"p3":null,"p1":null})"));
  }
}

// T-28: large counts are counted, not unrolled.
TEST_CASE("Schema_T28_LargeCountsCostNothing") {
  for (const char* text : {R"({"maxLength":2147483648,"type":"string"})", R"({"maxLength":1e18,"type":"string"})", R"({"type":"string","minLength":2000,"maxLength":1000000000})",
                           R"({"maxItems":1000000000,"items":{"const":1}})", R"({"minItems":2000,"items":{"const":1}})", R"({"additionalProperties":{},"maxProperties":1000000000})"}) {
    INFO(text);
    const OutputConstraint constraint = schema(text);
    RuleSet rules;
    size_t n_bytes = 1 << 20;
    (void)compile_schema(constraint.schemas[0].second, rules, n_bytes);
    CHECK(rules.n_nodes() < 2000);
    CHECK(refusal(constraint) == "");
  }
  for (const char* text : {R"({"minLength":2001})", R"({"minItems":2001})", R"({"minItems":1000000000})", R"({"minLength":1e30})", R"({"minProperties":2001})"}) {
    const std::string said = refusal(schema(text));
    INFO(text << " -> " << said);
    CHECK(said.find("expected at most 2000") != std::string::npos);
  }
  Matcher matcher(compile_constraint(schema(R"({"type":"string","minLength":1999,"maxLength":2001})")));
  for (size_t n : {1998u, 1999u, 2001u, 2002u}) CHECK(matches(matcher, "\"" + std::string(n, 'x') + "\"") == (n == 1999 || n == 2001));
}
