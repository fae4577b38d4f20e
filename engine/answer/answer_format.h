#pragma once
// AnswerFormat: how a model marks its thinking and its tool calls in what it writes, read off the text of its chat template
// (never its name). Used by AnswerParser and by whoever must know what a model can do. The families are rows of formats.inc.

#include <string>
#include <string_view>
#include <vector>

namespace olx::engine {

// How a call is written between its marks.
enum class CallSyntax {
  kNone,
  kJson,      // {"name": …, "arguments": {…}}, one or more, or a list of them
  kNamed,     // name, separator, JSON of the arguments
  kXml,       // <function=name><parameter=key>value</parameter></function>, or <invoke name="…"><parameter name="…">
  kPairs,     // name <arg_key>key</arg_key><arg_value>value</arg_value>
  kPython,    // [name(key=value, …)]
  kGemma,     // call:name{key:<|"|>text<|"|>}
  kHarmony,   // the channels of gpt-oss
};

struct AnswerFormat {
  std::string think_open;      // "": does not think
  std::string think_close;
  std::vector<std::string> wrappers;  // marks around content or around all calls: not part of any of them

  CallSyntax syntax = CallSyntax::kNone;
  std::string call_open;       // before a call; "": calls are only found bare
  std::string call_close;      // after a call; "": it reaches to the end of the answer
  std::string name_after;      // kNamed: the name stands after this …
  std::string name_until;      // … and before this
  bool allows_bare = false;    // an answer that is nothing but a call needs no marks; only declared tools count then

  bool thinks() const { return syntax == CallSyntax::kHarmony || !think_open.empty(); }
  bool calls() const { return syntax != CallSyntax::kNone; }
  // The texts that carry the format. A control token spelled so must reach the parser as text.
  std::vector<std::string> marks() const;
};

// A Jinja template. One that speaks of tools in no known form gives bare JSON; one that never does,
// no calls.
AnswerFormat recognise_format(std::string_view template_text);
// A Go template. Its marks of thinking may be any: what stands around {{ .Thinking }}.
AnswerFormat recognise_go_format(std::string_view template_text);

}  // namespace olx::engine
