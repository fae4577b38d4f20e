// AnswerReader: ids of calls, how many are given out, and where log-probabilities go.
#include "server/api/answer_reader.h"

#include <set>

#include "tests/support/catch.h"
#include "tests/support/json_value.h"

using namespace olx;
using namespace olx::server;
namespace json = boost::json;

namespace {

const engine::AnswerFormat& hermes() {
  static const engine::AnswerFormat format =
      engine::recognise_format("{{ tools }} <tool_call></tool_call> <think></think>");
  return format;
}

engine::Value tools() {
  return tests::parse_json(R"([{"type":"function","function":{"name":"add","parameters":{}}}])");
}

constexpr const char* kTwoCalls =
    "<think>hm</think>Well. "
    "<tool_call>{\"name\":\"add\"}</tool_call><tool_call>{\"name\":\"add\"}</tool_call> done";

}  // namespace

TEST_CASE("AnswerReader_GivesEachCallAnIdOfItsOwn") {
  AnswerReader reader(hermes(), tools(), "");
  AnswerPiece whole = reader.push(kTwoCalls, {});
  whole.add(reader.finish());
  CHECK(whole.thinking == "hm");
  CHECK(whole.content == "Well.done");
  REQUIRE(whole.tool_calls.size() == 2);
  CHECK(whole.tool_calls[0].id != whole.tool_calls[1].id);
  for (const engine::ToolCall& call : whole.tool_calls) {
    CHECK(call.id.size() == 13);
    CHECK(call.id.starts_with("call_"));
    CHECK(call.id.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789", 5) ==
          std::string::npos);
  }
  CHECK_FALSE(reader.is_over());
}

TEST_CASE("AnswerReader_EndsWithTheLastCallThatMayBe") {
  AnswerReader reader(hermes(), tools(), "", "toolu_", 1);
  CHECK(reader.push("<tool_call>", {}).is_empty());
  AnswerPiece whole = reader.push(kTwoCalls + 39, {});
  REQUIRE(whole.tool_calls.size() == 1);
  CHECK(whole.tool_calls[0].id.starts_with("toolu_"));
  CHECK(reader.is_over());
  CHECK(reader.push("more", {}).is_empty());
  CHECK(reader.finish().is_empty());
}

TEST_CASE("AnswerReader_KeepsLogprobsWithTheTextThatIsHeldBack") {
  AnswerReader reader(hermes(), tools(), "");
  const json::array entry{json::object{{"token", "x"}}};
  const AnswerPiece held = reader.push("<tool", entry);
  CHECK(held.content.empty());
  CHECK(held.logprobs == entry);
  CHECK_FALSE(held.is_empty());
  AnswerPiece rest = reader.push(" box", entry);
  rest.add(reader.finish());
  CHECK(rest.content == "<tool box");
  CHECK(rest.logprobs == entry);
}

TEST_CASE("AnswerReader_LeavesCallsInTheTextWhereNoToolsWereOffered") {
  AnswerReader reader(hermes(), {}, "");
  AnswerPiece whole = reader.push(kTwoCalls, {});
  whole.add(reader.finish());
  CHECK(whole.tool_calls.empty());
  CHECK(whole.content == std::string(kTwoCalls).substr(17));
}
