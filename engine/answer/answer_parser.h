#pragma once
// AnswerParser: the text of one answer, as it streams, to thinking, content and whole tool calls. Used by the server, one per
// answer. What it is given may be cut anywhere: the joined result is the same. It knows the families of formats in formats.inc;
// which one a model uses is found by recognise_format. It makes no ids for calls.

#include <string>
#include <string_view>
#include <vector>

#include "engine/answer/answer_format.h"
#include "engine/answer/call_reader.h"
#include "engine/request.h"

namespace olx::engine {

// What one piece of text added.
struct ParsedText {
  std::string thinking;
  std::string content;
  std::vector<ToolCall> tool_calls;

  bool is_empty() const { return thinking.empty() && content.empty() && tool_calls.empty(); }
};

class AnswerParser {
 public:
  // tools: the declared ones as in ChatRequest; none: calls are left in the content. prompt: as rendered; it may end inside thinking.
  AnswerParser(AnswerFormat format, const Value& tools, std::string_view prompt);

  ParsedText push(std::string_view text);
  // The answer is over: everything held back. A call that is not whole, or broken, comes out as content.
  ParsedText finish();

 private:
  enum class State {
    kStart,    // white space at most so far: thinking may begin, or a bare call
    kThinking,
    kContent,
    kCall,     // after the mark of a call, or in a bare one
    kHeader,   // harmony: before <|message|>
    kMessage,  // harmony: after it
  };
  enum class Message { kThinking, kContent, kCall };

  // One step takes something from held_ or changes the state; false: more text is needed.
  bool step(bool is_end, ParsedText& out);
  bool step_start(bool is_end, ParsedText& out);
  bool step_thinking(bool is_end, ParsedText& out);
  bool step_content(bool is_end, ParsedText& out);
  bool step_call(bool is_end, ParsedText& out);
  bool step_header(bool is_end, ParsedText& out);
  bool step_message(bool is_end, ParsedText& out);
  bool looks_for_calls() const;
  void begin_call(bool is_bare);
  bool end_call(size_t n_body, size_t n_close, ParsedText& out);
  void give_up_call(ParsedText& out);
  void begin_message(std::string_view header);
  void end_message_call(std::string_view body, ParsedText& out);
  std::string take_until_mark(const std::vector<std::string_view>& marks, bool is_end, size_t& mark);
  // Moves to `out` what white space rules leave of `text`.
  void put(std::string& out, std::string_view text);

  AnswerFormat format_;
  ToolSet tools_;
  State state_ = State::kStart;
  std::string held_;          // text that is not decided yet
  bool may_think_ = true;     // kStart: thinking has not been
  bool drops_space_ = false;  // white space at the next text's beginning belongs to a mark
  bool is_bare_ = false;      // kCall: there was no mark
  size_t search_from_ = 0;    // kCall: no closing mark begins before
  int n_attempts_ = 0;        // kCall: closing marks inside the call
  int n_broken_ = 0;          // calls given up
  Message message_ = Message::kContent;
  std::string recipient_;     // harmony: the function a message goes to
};

}  // namespace olx::engine
