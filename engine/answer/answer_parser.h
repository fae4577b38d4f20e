#pragma once
// AnswerParser: the text of one answer, as it streams, to thinking, content and whole tool calls. Used by the server, one per
// answer. What it is given may be cut anywhere: the joined result is the same. It knows the families of formats in formats.inc;
// which one a model uses is found by recognise_format. It makes no ids for calls and does not look at the prompt's tokens.

#include <string>
#include <string_view>
#include <vector>

#include "engine/answer/answer_format.h"
#include "engine/request.h"

namespace olx::engine {

// What one piece of text added: everything of `thinking` comes before `content`, and `content` before the calls.
struct ParsedText {
  std::string thinking;
  std::string content;
  std::vector<ToolCall> tool_calls;

  bool is_empty() const { return thinking.empty() && content.empty() && tool_calls.empty(); }
};

class AnswerParser {
 public:
  // tools: the names of the declared tools; none: no call is looked for. prompt: the rendered prompt, which may have begun to think.
  AnswerParser(AnswerFormat format, std::vector<std::string> tools, std::string_view prompt);

  ParsedText push(std::string_view text);
  // The answer is over: everything held back. A call that is not whole, or broken, comes out as content.
  ParsedText finish();

 private:
  enum class State {
    kStart,      // nothing but white space yet: thinking may begin, or a bare call
    kThinking,
    kAfterTag,   // white space after a tag is not part of the text
    kContent,
    kCall,       // between the marks of a call, or in a bare one
    kHeader,     // harmony: before <|message|>
    kSilent,     // harmony: a message whose text is a call
  };

  bool step(bool is_end, ParsedText& out);
  bool step_start(bool is_end, ParsedText& out);
  bool step_thinking(bool is_end, ParsedText& out);
  bool step_content(bool is_end, ParsedText& out);
  bool step_call(bool is_end, ParsedText& out);
  bool step_header(bool is_end, ParsedText& out);
  bool step_message(bool is_end, ParsedText& out);

  AnswerFormat format_;
  std::vector<std::string> tools_;
  State state_ = State::kStart;
  std::string held_;           // text that is not decided yet
  bool has_calls_ = false;
};

}  // namespace olx::engine
