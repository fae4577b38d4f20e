#pragma once
// AnswerReader: the text of one answer, as it is generated, to the pieces that handlers send:
// thinking, content, calls with ids. One an answer. What the text means is engine::AnswerParser's;
// ids and the bound on the number of calls are added here.

#include <boost/json/array.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/answer/answer_parser.h"
#include "engine/request.h"

namespace olx::server {

// A part of an answer, in the order the model wrote it. Some fields may be empty, not all.
struct AnswerPiece {
  std::string thinking;
  std::string content;
  std::vector<engine::ToolCall> tool_calls;  // whole calls, with ids
  boost::json::array logprobs;

  bool is_empty() const {
    return thinking.empty() && content.empty() && tool_calls.empty() && logprobs.empty();
  }
  // What comes after this one, added to it.
  void add(AnswerPiece next);
};

class AnswerReader {
 public:
  // tools: those offered to the model; null: none. prompt: as rendered. max_calls: later ones are
  // not given out; 0: no bound.
  AnswerReader(engine::AnswerFormat format, const engine::Value& tools, std::string_view prompt,
               std::string call_id_prefix = "call_", size_t max_calls = 0);

  // May be empty: the text can still become something else.
  AnswerPiece push(std::string_view text, const boost::json::array& logprobs);
  // What was held back at the end.
  AnswerPiece finish();
  // All calls that may be are there: nothing that follows is part of the answer.
  bool is_over() const { return max_calls_ > 0 && n_calls_ >= max_calls_; }

 private:
  AnswerPiece piece_of(engine::ParsedText parsed);

  engine::AnswerParser parser_;
  std::string call_id_prefix_;
  size_t max_calls_;
  size_t n_calls_ = 0;
};

}  // namespace olx::server
