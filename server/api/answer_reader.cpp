#include "server/api/answer_reader.h"

#include <iterator>
#include <utility>

#include "server/json/random_id.h"

namespace olx::server {

void AnswerPiece::add(AnswerPiece next) {
  thinking += next.thinking;
  content += next.content;
  std::move(next.tool_calls.begin(), next.tool_calls.end(), std::back_inserter(tool_calls));
  logprobs.insert(logprobs.end(), next.logprobs.begin(), next.logprobs.end());
}

AnswerReader::AnswerReader(engine::AnswerFormat format, const engine::Value& tools,
                           std::string_view prompt, std::string call_id_prefix, size_t max_calls)
    : parser_(std::move(format), tools, prompt),
      call_id_prefix_(std::move(call_id_prefix)),
      max_calls_(max_calls) {}

AnswerPiece AnswerReader::piece_of(engine::ParsedText parsed) {
  AnswerPiece piece;
  piece.thinking = std::move(parsed.thinking);
  piece.content = std::move(parsed.content);
  for (engine::ToolCall& call : parsed.tool_calls) {
    if (is_over()) break;
    call.id = random_call_id(call_id_prefix_);
    piece.tool_calls.push_back(std::move(call));
    ++n_calls_;
  }
  return piece;
}

AnswerPiece AnswerReader::push(std::string_view text, const boost::json::array& logprobs) {
  AnswerPiece piece = is_over() ? AnswerPiece() : piece_of(parser_.push(text));
  piece.logprobs = logprobs;
  return piece;
}

AnswerPiece AnswerReader::finish() {
  return is_over() ? AnswerPiece() : piece_of(parser_.finish());
}

}  // namespace olx::server
