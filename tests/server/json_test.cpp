#include "server/json/json.h"

#include "tests/support/catch.h"

using namespace olx::server;

namespace {

std::string error_of(std::string_view text) {
  try {
    parse_json(text);
  } catch (const JsonError& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("Json_IsWrittenAsGoWritesIt") {
  const boost::json::value value = {{"a", "<b>&\xe2\x80\xa8\xff\x01\"\\\n"}, {"n", 1.5}, {"i", 3.0}, {"e", 1e-7}, {"big", 1e21}};
  CHECK(go_json(value) ==
        "{\"a\":\"\\u003cb\\u003e\\u0026\\u2028\\ufffd\\u0001\\\"\\\\\\n\",\"n\":1.5,\"i\":3,\"e\":1e-7,\"big\":1e+21}");
}

TEST_CASE("Json_KeysMatchWhateverTheirCase") {
  const auto value = parse_json("{\"MODEL\":\"m\",\"Stream\":false,\"n\":null} trailing");
  const Fields fields(value.as_object(), "GenerateRequest");
  CHECK(fields.text("model") == "m");
  CHECK(fields.boolean("stream") == false);
  CHECK_FALSE(fields.text("n"));
  CHECK_THROWS_WITH(fields.text("stream"), "json: cannot unmarshal bool into Go struct field GenerateRequest.stream of type string");
}

TEST_CASE("Json_NumbersAreReadToTheLastBit") {
  // The first was another number after each time it was written and read. The others: halfway
  // between two doubles, the smallest normal and subnormal one, the largest, more digits than a
  // double holds.
  for (const auto& [text, number] : std::initializer_list<std::pair<const char*, double>>{
           {"5.409760742964738e+124", 5.409760742964738e+124},
           {"9007199254740993.0", 9007199254740992.0},
           {"5e-324", 5e-324},
           {"2.2250738585072014e-308", 2.2250738585072014e-308},
           {"1.7976931348623157e308", 1.7976931348623157e308},
           {"0.1000000000000000055511151231257827021181583404541015625", 0.1},
           {"-1e-400", 0.0}}) {
    INFO(text);
    const boost::json::value value = parse_json(text);
    REQUIRE(value.is_double());
    CHECK(value.get_double() == number);
    CHECK(parse_json(go_json(value)).to_number<double>() == number);
  }
  CHECK(parse_json("[18446744073709551615,-9223372036854775808,0]") ==
        boost::json::value({UINT64_MAX, INT64_MIN, 0}));
  CHECK(error_of("[1e400]") == "json: cannot unmarshal number 1e400 into Go value of type float64");
  // A number in many pieces of text is one of many in one.
  std::string digits = "[0.";
  digits.append(5000, '3');
  CHECK(parse_json(digits + "]").at(0).get_double() == 0.3333333333333333);
}

TEST_CASE("Json_LimitsAndErrors") {
  CHECK(error_of("x") == "invalid character 'x' looking for beginning of value");
  CHECK(error_of("{\"a\":") == "unexpected EOF");
  CHECK(error_of("") == "unexpected EOF");
  CHECK(error_of(std::string(64, '[') + std::string(64, ']')) == "");
  CHECK(error_of(std::string(65, '[') + std::string(65, ']')) == "exceeded max depth");
  CHECK(error_of(std::string(1'000'000, '[')) == "exceeded max depth");
}

TEST_CASE("Json_BombsAreRefusedOrDefined", "[T-49]") {
  const auto with_keys = [](size_t n) {
    std::string text = "{";
    for (size_t i = 0; i < n; ++i) text += (i == 0 ? "\"" : ",\"") + std::to_string(i) + "\":0";
    return text + "}";
  };
  CHECK(error_of(with_keys(kMaxJsonKeys)) == "");
  CHECK(error_of(with_keys(kMaxJsonKeys + 1)) == "json: an object has more than 10000 keys");
  std::string nested;
  for (int i = 0; i < 1'000'000; ++i) nested += "{\"a\":";
  CHECK(error_of(nested) == "exceeded max depth");
  CHECK(parse_json("{\"a\":1,\"a\":2}").at("a") == boost::json::value(2));  // the last one counts
  CHECK_FALSE(error_of("\"\\ud800\"").empty());                               // half a surrogate pair
}
