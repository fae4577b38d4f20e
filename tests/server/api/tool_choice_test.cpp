// tool_choice: every form in which it comes, and which tools are offered then.
#include "server/api/tool_choice.h"

#include <boost/json.hpp>

#include "server/http/api_error.h"
#include "tests/support/catch.h"

using namespace olx::server;
namespace json = boost::json;

namespace {

ToolChoice read(const std::string& members) {
  const json::value body = json::parse("{" + members + "}");
  return read_tool_choice(Fields(body.get_object(), "Request"));
}

std::string refusal(const std::string& members) {
  try {
    read(members);
  } catch (const ApiError& error) {
    CHECK(error.status() == 400);
    return error.what();
  }
  return "";
}

const json::array& two_tools() {
  static const json::array list =
      json::parse(
          R"([{"type":"function","function":{"name":"f"}},{"type":"function","function":{"name":"g"}}])")
          .as_array();
  return list;
}

}  // namespace

TEST_CASE("ToolChoice_ReadsEveryForm") {
  CHECK(read("").kind == ToolChoice::Kind::kAuto);
  CHECK(read(R"("tool_choice":null)").allows_parallel);
  CHECK(read(R"("tool_choice":"none")").kind == ToolChoice::Kind::kNone);
  const ToolChoice required = read(R"("tool_choice":"required","parallel_tool_calls":false)");
  CHECK(required.must_call());
  CHECK_FALSE(required.allows_parallel);
  CHECK(read(R"("tool_choice":{"type":"function","function":{"name":"f"}})").name == "f");
  CHECK(read(R"("tool_choice":{"type":"function","name":"g"})").name == "g");
  const ToolChoice chat = read(
      R"("tool_choice":{"type":"allowed_tools","allowed_tools":{"mode":"required","tools":[{"type":"function","function":{"name":"g"}}]}})");
  CHECK(chat.kind == ToolChoice::Kind::kRequired);
  CHECK(chat.allowed == std::vector<std::string>{"g"});
  const ToolChoice responses = read(
      R"("tool_choice":{"type":"allowed_tools","mode":"auto","tools":[{"type":"function","name":"f"}]})");
  CHECK(responses.kind == ToolChoice::Kind::kAuto);
  CHECK(responses.allowed == std::vector<std::string>{"f"});
}

TEST_CASE("ToolChoice_RefusesWhatItDoesNotKnow") {
  CHECK(refusal(R"("tool_choice":"maybe")") ==
        "invalid tool_choice: \"maybe\" (must be \"none\", \"auto\", \"required\" or a function)");
  CHECK(refusal(R"("tool_choice":{"type":"web_search"})") ==
        "invalid tool_choice type: \"web_search\" (only \"function\" and \"allowed_tools\" are "
        "supported)");
  CHECK(refusal(R"("tool_choice":{"type":"function"})") == "tool_choice names no function");
  CHECK(refusal(R"("tool_choice":{"type":"allowed_tools","tools":[]})") ==
        "tool_choice allows no tool");
}

TEST_CASE("ToolChoice_SaysWhichToolsAreOffered") {
  CHECK(offered_tools(two_tools(), {}) == two_tools());
  CHECK(offered_tools(two_tools(), {.kind = ToolChoice::Kind::kNone}).empty());
  CHECK(offered_tools(two_tools(), {.kind = ToolChoice::Kind::kNamed, .name = "g"}) == two_tools());
  CHECK(offered_tools(two_tools(), {.allowed = {"g"}}) == json::array{two_tools()[1]});
  CHECK_THROWS_AS(offered_tools(two_tools(), {.kind = ToolChoice::Kind::kNamed, .name = "h"}),
                  ApiError);
  CHECK_THROWS_AS(offered_tools(two_tools(), {.allowed = {"f", "h"}}), ApiError);
  CHECK_THROWS_AS(offered_tools({}, {.kind = ToolChoice::Kind::kRequired}), ApiError);
}
