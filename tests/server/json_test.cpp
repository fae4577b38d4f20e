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

TEST_CASE("Json_LimitsAndErrors") {
  CHECK(error_of("x") == "invalid character 'x' looking for beginning of value");
  CHECK(error_of("{\"a\":") == "unexpected EOF");
  CHECK(error_of("") == "unexpected EOF");
  CHECK(error_of(std::string(64, '[') + std::string(64, ']')) == "");
  CHECK(error_of(std::string(65, '[') + std::string(65, ']')) == "exceeded max depth");
  CHECK(error_of(std::string(1'000'000, '[')) == "exceeded max depth");
}
