// Any bytes as the answer of a model: the first byte chooses the family of its format and where the
// text is cut. It is parsed whole and in pieces; both must say the same.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "engine/answer/answer_parser.h"

namespace {

using namespace olx::engine;

constexpr const char* kTemplates[] = {
    "tools <tool_call></tool_call> <think></think>",
    "tools \"parameters\": dictionary",
    "tools [TOOL_CALLS] [ARGS] [THINK] [/THINK]",
    "tools Action:\n```json",
    "tools <｜tool▁calls▁begin｜><｜tool▁call▁begin｜> ```json <｜tool▁calls▁end｜> "
    "<think></think>",
    "tools ｜DSML｜ function_calls>",
    "<|channel|> <|message|>",
    "tools <|tool_call> <tool_call|> <|channel>thought <channel|>",
    "tools <tool_call> <function=",
    "tools <tool_call> <arg_key>",
    "tools <|tool_call_start|>",
    "tools <function name=\" </function>",
    "tools ```tool_code",
};

void add(const ParsedText& piece, std::string& thinking, std::string& content, size_t& n_calls) {
  thinking += piece.thinking;
  content += piece.content;
  n_calls += piece.tool_calls.size();
}

std::string parse(const AnswerFormat& format, const Value& tools, std::string_view text,
                  size_t n_piece) {
  AnswerParser parser(format, tools, "");
  std::string thinking, content;
  size_t n_calls = 0;
  for (size_t at = 0; at < text.size(); at += n_piece)
    add(parser.push(text.substr(at, n_piece)), thinking, content, n_calls);
  add(parser.finish(), thinking, content, n_calls);
  return std::to_string(n_calls) + "\n" + thinking + "\n" + content;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1) return 0;
  static const Value tools = ValueList{Value(ValueMap{
      {"function",
       Value(ValueMap{
           {"name", "f"},
           {"parameters",
            Value(ValueMap{{"properties",
                            Value(ValueMap{{"a", Value(ValueMap{{"type", "string"}})}})}})}})}})};
  const AnswerFormat format = recognise_format(kTemplates[data[0] % std::size(kTemplates)]);
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  const size_t n_piece = 1 + data[0] / std::size(kTemplates);
  if (parse(format, tools, text, n_piece) != parse(format, tools, text, text.size())) std::abort();
  return 0;
}
