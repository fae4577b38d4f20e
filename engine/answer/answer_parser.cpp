#include "engine/answer/answer_parser.h"

#include <algorithm>
#include <utility>

#include "gguf/ascii.h"

namespace olx::engine {
namespace {

// A call is read again at each closing mark inside it, and text after a broken one is searched anew: both are bounded, so that
// an answer of nothing but marks costs no more than its length a few dozen times.
constexpr int kMaxAttempts = 32;
constexpr int kMaxBroken = 32;

// How many bytes at the end of `text` could be the beginning of `mark`.
size_t partial_at_end(std::string_view text, std::string_view mark) {
  for (size_t n = std::min(text.size(), mark.empty() ? 0 : mark.size() - 1); n > 0; --n)
    if (text.substr(text.size() - n) == mark.substr(0, n)) return n;
  return 0;
}

}  // namespace

AnswerParser::AnswerParser(AnswerFormat format, const Value& tools, std::string_view prompt)
    : format_(std::move(format)), tools_(tools) {
  const std::string_view end = ascii::trimmed(prompt);
  if (format_.syntax == CallSyntax::kHarmony) {
    state_ = State::kHeader;
    // A prompt may have begun the message.
    constexpr std::string_view kMessageMark = "<|message|>";
    if (end.ends_with(kMessageMark)) {
      const size_t start = end.rfind("<|start|>");
      begin_message(end.substr(start == std::string_view::npos ? 0 : start, end.size() - (start == std::string_view::npos ? 0 : start)));
    }
    return;
  }
  if (!format_.think_open.empty() && end.ends_with(format_.think_open)) {
    state_ = State::kThinking;
    drops_space_ = true;
  }
}

ParsedText AnswerParser::push(std::string_view text) {
  ParsedText out;
  held_ += text;
  while (step(false, out)) {}
  return out;
}

ParsedText AnswerParser::finish() {
  ParsedText out;
  while (step(true, out)) {}
  return out;
}

bool AnswerParser::step(bool is_end, ParsedText& out) {
  switch (state_) {
    case State::kStart: return step_start(is_end, out);
    case State::kThinking: return step_thinking(is_end, out);
    case State::kContent: return step_content(is_end, out);
    case State::kCall: return step_call(is_end, out);
    case State::kHeader: return step_header(is_end, out);
    case State::kMessage: return step_message(is_end, out);
  }
  return false;
}

bool AnswerParser::looks_for_calls() const { return format_.calls() && !tools_.is_empty() && n_broken_ < kMaxBroken; }

void AnswerParser::put(std::string& out, std::string_view text) {
  if (drops_space_) {
    const size_t begin = text.find_first_not_of(ascii::kSpace);
    if (begin == std::string_view::npos) return;
    text.remove_prefix(begin);
    drops_space_ = false;
  }
  out += text;
}

bool AnswerParser::step_start(bool is_end, ParsedText&) {
  const bool may_be_call = looks_for_calls() && format_.allows_bare;
  const bool may_think = may_think_ && !format_.think_open.empty();
  const std::string_view text = held_;
  const size_t begin = text.find_first_not_of(ascii::kSpace);
  if (begin == std::string_view::npos) {
    if (is_end || !(may_be_call || may_think)) return state_ = State::kContent, true;
    return false;
  }
  const std::string_view start = text.substr(begin);
  if (may_think && start.starts_with(format_.think_open)) {
    held_.erase(0, begin + format_.think_open.size());
    drops_space_ = true;
    state_ = State::kThinking;
    return true;
  }
  if (may_think && !is_end && std::string_view(format_.think_open).starts_with(start)) return false;
  if (may_be_call && (start.front() == '{' || start.front() == '[')) begin_call(true);
  else state_ = State::kContent;
  return true;
}

// Takes the text before the first of the marks; `mark` is its index, or marks.size() when there is none (yet). The mark stays.
std::string AnswerParser::take_until_mark(const std::vector<std::string_view>& marks, bool is_end, size_t& mark) {
  size_t cut = std::string::npos;
  size_t keep = 0;
  mark = marks.size();
  for (size_t i = 0; i < marks.size(); ++i) {
    const size_t at = held_.find(marks[i]);
    if (at < cut) {
      cut = at;
      mark = i;
    }
    keep = std::max(keep, partial_at_end(held_, marks[i]));
  }
  if (cut == std::string::npos) cut = held_.size() - (is_end ? 0 : keep);
  std::string text = held_.substr(0, cut);
  held_.erase(0, cut);
  return text;
}

bool AnswerParser::step_thinking(bool is_end, ParsedText& out) {
  size_t mark = 0;
  put(out.thinking, take_until_mark({format_.think_close}, is_end, mark));
  if (mark != 0) return false;
  held_.erase(0, format_.think_close.size());
  may_think_ = false;
  drops_space_ = true;
  state_ = State::kStart;
  return true;
}

bool AnswerParser::step_content(bool is_end, ParsedText& out) {
  const bool has_calls = looks_for_calls() && !format_.call_open.empty();
  std::vector<std::string_view> marks(format_.wrappers.begin(), format_.wrappers.end());
  if (has_calls) marks.emplace_back(format_.call_open);
  size_t mark = 0;
  std::string text = take_until_mark(marks, is_end, mark);
  const bool is_mark = mark < marks.size();
  // White space in front of a mark is layout, so it waits for what follows.
  if (!marks.empty() && (is_mark || !is_end)) {
    const size_t end = text.find_last_not_of(ascii::kSpace) + 1;
    if (!is_mark) held_.insert(0, text.substr(end));
    text.resize(end);
  }
  put(out.content, text);
  if (!is_mark) return false;
  held_.erase(0, marks[mark].size());
  if (has_calls && mark == marks.size() - 1) {
    begin_call(false);
  } else {
    drops_space_ = true;
  }
  return true;
}

void AnswerParser::begin_call(bool is_bare) {
  state_ = State::kCall;
  is_bare_ = is_bare;
  search_from_ = 0;
  n_attempts_ = 0;
}

// The text of a call that is none goes to the content; what follows its mark may still hold another.
void AnswerParser::give_up_call(ParsedText& out) {
  ++n_broken_;
  state_ = State::kContent;
  drops_space_ = false;
  if (!is_bare_) {
    put(out.content, format_.call_open);
    return;
  }
  // The brace that made it look like a call.
  put(out.content, held_);
  held_.clear();
}

// Reads the call in the first n_body bytes. False: not whole yet.
bool AnswerParser::end_call(size_t n_body, size_t n_close, ParsedText& out) {
  const bool is_whole_tag = format_.syntax == CallSyntax::kXml;
  const std::string_view inside = std::string_view(held_).substr(0, n_body);
  const std::string body = is_whole_tag ? format_.call_open + std::string(inside) + format_.call_close : std::string(inside);
  CallsRead read = read_calls(body, format_, tools_, is_bare_);
  if (read.result == ReadResult::kUnfinished) return false;
  if (read.result == ReadResult::kBroken) return give_up_call(out), true;
  for (ToolCall& call : read.calls) out.tool_calls.push_back(std::move(call));
  const std::string rest = is_whole_tag ? "" : std::string(inside.substr(std::min(read.n_read, inside.size())));
  held_.erase(0, n_body + n_close);
  drops_space_ = true;
  if (!ascii::trimmed(rest).empty()) held_.insert(0, rest);
  state_ = State::kContent;
  return true;
}

bool AnswerParser::step_call(bool is_end, ParsedText& out) {
  const std::string& close = format_.call_close;
  if (!close.empty() && !is_bare_) {
    const size_t at = held_.find(close, search_from_);
    if (at <= kMaxCallBytes) {  // npos is larger
      if (end_call(at, close.size(), out)) return true;
      search_from_ = at + close.size();
      if (++n_attempts_ >= kMaxAttempts) give_up_call(out);
      return true;
    }
    search_from_ = std::max(search_from_, held_.size() - std::min(held_.size(), close.size() - 1));
  }
  if (held_.size() > kMaxCallBytes + close.size()) return give_up_call(out), true;
  if (!is_end) return false;
  // Some models end their turn instead of closing the call.
  if (!end_call(held_.size(), 0, out)) give_up_call(out);
  return true;
}

}  // namespace olx::engine
