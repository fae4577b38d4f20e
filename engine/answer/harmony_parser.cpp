// The part of AnswerParser that reads harmony, the format of gpt-oss: messages with a header each, to a channel or a function.
// Facts: openai/harmony, docs/format.md.

#include <algorithm>
#include <iterator>
#include <utility>

#include "engine/answer/answer_parser.h"
#include "gguf/ascii.h"

namespace olx::engine {
namespace {

constexpr std::string_view kStartMark = "<|start|>";
constexpr std::string_view kChannelMark = "<|channel|>";
constexpr std::string_view kMessageMark = "<|message|>";
constexpr size_t kMaxHeaderBytes = 1024;

std::string_view word_after(std::string_view text, std::string_view mark) {
  const size_t at = text.find(mark);
  if (at == std::string_view::npos) return "";
  text.remove_prefix(at + mark.size());
  return text.substr(0, text.find_first_of(" \t\r\n<"));
}

// Whether a header may begin so: a mark, a recipient, or the role.
bool may_be_header(std::string_view text) {
  const size_t begin = text.find_first_not_of(ascii::kSpace);
  if (begin == std::string_view::npos) return true;
  text.remove_prefix(begin);
  for (const std::string_view start : {kStartMark, kChannelMark, kMessageMark, std::string_view("<|constrain|>"), std::string_view("to="),
                                       std::string_view("assistant")})
    if (text.starts_with(start) || start.starts_with(text)) return true;
  return false;
}

}  // namespace

void AnswerParser::begin_message(std::string_view header) {
  constexpr std::string_view kFunctions = "functions.";
  state_ = State::kMessage;
  search_from_ = 0;
  std::string_view recipient = word_after(header, "to=");
  const bool is_function = recipient.starts_with(kFunctions);
  if (is_function) recipient.remove_prefix(kFunctions.size());
  recipient_ = recipient;
  if (!recipient.empty() && (is_function || tools_.has(recipient))) message_ = Message::kCall;
  else message_ = word_after(header, kChannelMark) == "analysis" ? Message::kThinking : Message::kContent;
}

bool AnswerParser::step_header(bool is_end, ParsedText& out) {
  const size_t end = held_.find(kMessageMark);
  // The longest that the header can be: without its mark, as if that were about to end.
  const size_t n_header = end != std::string::npos ? end : held_.size() - std::min(held_.size(), kMessageMark.size() - 1);
  const bool is_header = may_be_header(held_) && n_header <= kMaxHeaderBytes;
  if (is_header && end != std::string::npos) {
    begin_message(std::string_view(held_).substr(0, end));
    held_.erase(0, end + kMessageMark.size());
    return true;
  }
  if (!is_header) {  // a model that does not keep to its format still said something
    if (held_.starts_with(kChannelMark) || held_.starts_with(kStartMark)) {
      const size_t n_mark = held_.starts_with(kStartMark) ? kStartMark.size() : kChannelMark.size();
      put(out.content, std::string_view(held_).substr(0, n_mark));
      held_.erase(0, n_mark);
    }
    state_ = State::kMessage;
    message_ = Message::kContent;
    return true;
  }
  if (!is_end) return false;
  // Cut off in a header: its marks mean nothing, other text does.
  const size_t begin = held_.find_first_not_of(ascii::kSpace);
  if (begin != std::string::npos && held_[begin] != '<') put(out.content, held_);
  held_.clear();
  return false;
}

void AnswerParser::end_message_call(std::string_view body, ParsedText& out) {
  LiteralReader reader(body);
  ToolCall call;
  call.name = recipient_;
  reader.skip_space();
  if (reader.is_at_end()) {
    call.arguments = Value(ValueMap{});
  } else if (reader.read(call.arguments) != ReadResult::kWhole || !call.arguments.as_map() || (reader.skip_space(), !reader.is_at_end())) {
    put(out.content, body);
    return;
  }
  out.tool_calls.push_back(std::move(call));
}

bool AnswerParser::step_message(bool is_end, ParsedText& out) {
  static constexpr std::string_view kMarks[] = {"<|end|>", "<|call|>", "<|return|>", kStartMark, kChannelMark};
  const std::vector<std::string_view> marks(std::begin(kMarks), std::end(kMarks));
  if (message_ == Message::kCall) {
    size_t cut = std::string::npos;
    for (const std::string_view mark : marks) cut = std::min(cut, held_.find(mark, search_from_));
    search_from_ = held_.size() - std::min(held_.size(), kChannelMark.size() - 1);
    const bool is_too_long = std::min(cut, search_from_) > kMaxCallBytes;
    if (cut == std::string::npos && !is_end && !is_too_long) return false;
    if (is_too_long) {
      message_ = Message::kContent;
      return true;
    }
    const std::string body = held_.substr(0, cut);
    held_.erase(0, body.size());
    end_message_call(body, out);
    message_ = Message::kContent;
  }
  size_t mark = 0;
  put(message_ == Message::kThinking ? out.thinking : out.content, take_until_mark(marks, is_end, mark));
  if (mark == marks.size()) return false;
  if (mark < 3) held_.erase(0, marks[mark].size());
  state_ = State::kHeader;
  return true;
}

}  // namespace olx::engine
