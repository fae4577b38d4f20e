#include "engine/answer/answer_format.h"

#include <algorithm>
#include <array>
#include <utility>

#include "gguf/ascii.h"

namespace olx::engine {
namespace {

struct CallRow {
  std::string_view in_template;
  std::string_view and_in_template;
  CallSyntax syntax;
  std::string_view open;
  std::string_view close;
  std::string_view name_after;
  std::string_view name_until;
  bool allows_bare;
};
struct ThinkRow {
  std::string_view in_template;
  std::string_view and_in_template;
  std::string_view open;
  std::string_view close;
};
struct WrapperRow {
  std::string_view in_template;
  std::string_view mark;
};

constexpr CallRow kCallRows[] = {
#define OLX_CALL_FORMAT(a, b, syntax, open, close, name_after, name_until, bare) \
  {a, b, CallSyntax::syntax, open, close, name_after, name_until, bare},
#define OLX_THINK_FORMAT(a, b, open, close)
#define OLX_WRAPPER(a, mark)
#include "engine/answer/formats.inc"
#undef OLX_CALL_FORMAT
#undef OLX_THINK_FORMAT
#undef OLX_WRAPPER
};
constexpr ThinkRow kThinkRows[] = {
#define OLX_CALL_FORMAT(a, b, syntax, open, close, name_after, name_until, bare)
#define OLX_THINK_FORMAT(a, b, open, close) {a, b, open, close},
#define OLX_WRAPPER(a, mark)
#include "engine/answer/formats.inc"
#undef OLX_CALL_FORMAT
#undef OLX_THINK_FORMAT
#undef OLX_WRAPPER
};
constexpr WrapperRow kWrapperRows[] = {
#define OLX_CALL_FORMAT(a, b, syntax, open, close, name_after, name_until, bare)
#define OLX_THINK_FORMAT(a, b, open, close)
#define OLX_WRAPPER(a, mark) {a, mark},
#include "engine/answer/formats.inc"
#undef OLX_CALL_FORMAT
#undef OLX_THINK_FORMAT
#undef OLX_WRAPPER
};

bool has(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }

// A Go template writes a call of the history after {{ if .ToolCalls }}: the text before its first brace marks a call.
std::string go_call_mark(std::string_view text) {
  size_t at = text.find(".ToolCalls");
  if (at == std::string_view::npos) return "";
  for (size_t end = text.find("}}", at); end != std::string_view::npos; end = text.find("}}", end)) {
    end += 2;
    const size_t next = std::min(text.find("{{", end), text.size());
    std::string_view literal = text.substr(end, next - end);
    literal = ascii::trimmed(literal.substr(0, literal.find('{')));
    if (!literal.empty()) return std::string(literal);
    if (has(text.substr(end, next - end), "{")) return "";
  }
  return "";
}

// A Go template writes the thinking of the history between the marks the model writes: {{ if
// .Thinking }}<think>{{ .Thinking }}</think>.
void recognise_go_thinking(std::string_view text, AnswerFormat& format) {
  for (size_t at = text.find(".Thinking"); at != std::string_view::npos;
       at = text.find(".Thinking", at + 1)) {
    const size_t open = text.rfind("{{", at), end = text.find("}}", at);
    if (open == std::string_view::npos || end == std::string_view::npos) return;
    std::string_view action = ascii::trimmed(text.substr(open + 2, end - open - 2));
    while (action.starts_with('-') || action.starts_with(' ')) action.remove_prefix(1);
    if (!action.starts_with('.') && !action.starts_with('$'))
      continue;  // a condition, not the text itself
    const size_t before = text.rfind("}}", open), after = text.find("{{", end);
    if (before == std::string_view::npos || after == std::string_view::npos) continue;
    const std::string_view mark = ascii::trimmed(text.substr(before + 2, open - before - 2));
    const std::string_view end_mark = ascii::trimmed(text.substr(end + 2, after - end - 2));
    if (mark.empty() || end_mark.empty()) continue;
    format.think_open = mark;
    format.think_close = end_mark;
    return;
  }
}

void recognise_calls(std::string_view text, AnswerFormat& format) {
  for (const CallRow& row : kCallRows) {
    if (!has(text, row.in_template) || !has(text, row.and_in_template)) continue;
    format.syntax = row.syntax;
    format.call_open = row.open;
    format.call_close = row.close;
    format.name_after = row.name_after;
    format.name_until = row.name_until;
    format.allows_bare = row.allows_bare;
    return;
  }
  format.syntax = CallSyntax::kJson;
  format.call_open = go_call_mark(text);
  if (format.call_open == "[") format.call_open.clear();
  format.allows_bare = format.call_open.empty();
}

}  // namespace

std::vector<std::string> AnswerFormat::marks() const {
  if (syntax == CallSyntax::kHarmony)
    return {"<|start|>", "<|channel|>", "<|constrain|>", "<|message|>", "<|end|>", "<|call|>", "<|return|>"};
  std::vector<std::string> all = wrappers;
  for (const std::string* text : {&think_open, &think_close, &call_open, &call_close, &name_after, &name_until})
    if (!text->empty()) all.push_back(*text);
  if (syntax == CallSyntax::kGemma) all.emplace_back("<|\"|>");
  if (syntax == CallSyntax::kNamed && call_open == "[TOOL_CALLS]") all.insert(all.end(), {"[ARGS]", "[CALL_ID]"});
  if (syntax == CallSyntax::kPairs)
    all.insert(all.end(), {"<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>"});
  return all;
}

AnswerFormat recognise_format(std::string_view template_text) {
  AnswerFormat format;
  if (has(template_text, "tools") || has(template_text, "tool_call") ||
      has(template_text, ".Tools") || has(template_text, "<|channel|>"))
    recognise_calls(template_text, format);
  if (format.syntax == CallSyntax::kHarmony) return format;
  for (const ThinkRow& row : kThinkRows) {
    if (!has(template_text, row.in_template) || !has(template_text, row.and_in_template)) continue;
    format.think_open = row.open;
    format.think_close = row.close;
    break;
  }
  for (const WrapperRow& row : kWrapperRows)
    if (has(template_text, row.in_template)) format.wrappers.emplace_back(row.mark);
  return format;
}

AnswerFormat recognise_go_format(std::string_view template_text) {
  AnswerFormat format = recognise_format(template_text);
  if (format.syntax == CallSyntax::kHarmony) return format;
  if (!has(template_text, ".Tools")) {
    const AnswerFormat none;
    format.syntax = none.syntax;
    format.call_open = format.call_close = format.name_after = format.name_until = "";
    format.allows_bare = false;
  }
  if (format.think_open.empty()) recognise_go_thinking(template_text, format);
  return format;
}

}  // namespace olx::engine
