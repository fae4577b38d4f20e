#include "engine/answer/call_constraint.h"

#include <algorithm>

#include "engine/answer/argument_grammar.h"
#include "engine/error.h"

namespace olx::engine {
namespace {

constexpr std::string_view kMoreCalls =
    "{0,15}";  // beside the first: a weak model would not stop by itself

struct LayoutRow {
  std::string_view call_open;
  std::string_view name_until;
  CallSyntax syntax;
  std::string_view before_all, each, between, after_all;
};

constexpr LayoutRow kLayoutRows[] = {
#define OLX_CALL_LAYOUT(open, until, syntax, before_all, each, between, after_all) \
  {open, until, CallSyntax::syntax, before_all, each, between, after_all},
#include "engine/answer/layouts.inc"
#undef OLX_CALL_LAYOUT
};

struct Layout {
  std::string before_all, each, between, after_all;
};

Layout layout_of(const AnswerFormat& format) {
  for (const LayoutRow& row : kLayoutRows)
    if (row.call_open == format.call_open && row.name_until == format.name_until &&
        row.syntax == format.syntax)
      return {std::string(row.before_all), std::string(row.each), std::string(row.between),
              std::string(row.after_all)};
  const std::string& open = format.call_open;
  const std::string& close = format.call_close;
  switch (format.syntax) {
    case CallSyntax::kHarmony:
      return {"", "<|channel|>commentary to=functions.$N <|constrain|>json<|message|>$A", "", ""};
    // A Go template's own mark, or none.
    case CallSyntax::kJson:
      return {"", open + "{\"name\": \"$N\", \"arguments\": $A}" + close, "\n", ""};
    default:
      break;
  }
  throw EngineError(ErrorCode::kInvalidRequest,
                    "the model's calls begin with \"" + open + "\": they cannot be forced");
}

// What stands for itself everywhere: no quote, brace, space or mark in it.
bool is_sound_name(std::string_view name, const AnswerFormat& format) {
  const auto is_sound = [](unsigned char c) {
    return c > ' ' && c < 0x7F &&
           std::string_view("\"'\\{}()<>[]$`,;").find(static_cast<char>(c)) ==
               std::string_view::npos;
  };
  const bool has_mark =
      !format.name_until.empty() && name.find(format.name_until) != std::string_view::npos;
  return !name.empty() && name.size() <= 256 && !has_mark &&
         std::all_of(name.begin(), name.end(), is_sound);
}

// The expression for one call: the layout's text, its places filled.
std::string call_expression(std::string_view layout, std::string_view name,
                            const std::string& arguments) {
  std::string out, text;
  const auto end_text = [&] {
    if (!text.empty()) out += gbnf_literal(text) + " ";
    text.clear();
  };
  for (size_t i = 0; i < layout.size(); ++i) {
    const char place = layout[i] == '$' && i + 1 < layout.size() ? layout[i + 1] : '\0';
    if (place == 'N') {
      text += name;
    } else if (place == 'A' || place == 'I' || place == 'R') {
      end_text();
      out += place == 'A' ? arguments : place == 'I' ? "[0-9]" : "[a-zA-Z0-9]{9}";
      out += " ";
    } else {
      text += layout[i];
      continue;
    }
    ++i;
  }
  end_text();
  return out;
}

const Value& function_of(const Value& tool) {
  const Value* function = tool.find("function");
  return function && function->as_map() ? *function : tool;
}

// Gemma's way to write any value.
constexpr std::string_view kGemmaRules =
    R"(gemma-any ::= gemma-string | gemma-number | "true" | "false" | "null" | "[" (gemma-any ("," gemma-any)*)? "]" | gemma-map
gemma-map ::= "{" (gemma-key ":" gemma-any ("," gemma-key ":" gemma-any)*)? "}"
gemma-key ::= [a-zA-Z_] [a-zA-Z0-9_]*
gemma-string ::= "<|\"|>" [^<]* ("<"+ [^<|] [^<]*)* "<|\"|>"
gemma-number ::= "-"? ("0" | [1-9] [0-9]{0,15}) ("." [0-9]{1,16})?
)";

// In harmony a second message begins with its role; the first one's stands in the prompt.
constexpr std::string_view kHarmonyStart = R"(("<|start|>assistant")? )";
constexpr std::string_view kFinalMessage = "\"<|channel|>final<|message|>\" ";

}  // namespace

OutputConstraint constrain_calls(const AnswerFormat& format, const Value& tools,
                                 bool allows_parallel) {
  if (!format.calls() || !tools.as_list() || tools.as_list()->empty())
    throw EngineError(ErrorCode::kInvalidRequest,
                      "a call cannot be forced: the model's template has no tools");
  const Layout layout = layout_of(format);
  OutputConstraint constraint;
  const bool is_harmony = format.syntax == CallSyntax::kHarmony;
  std::string choices, rules;
  int n_tools = 0;
  for (const Value& tool : *tools.as_list()) {
    const Value& function = function_of(tool);
    const Value* name = function.find("name");
    if (!name || !name->as_string() || !is_sound_name(*name->as_string(), format))
      throw EngineError(ErrorCode::kInvalidRequest,
                        "tool \"" + (name && name->as_string() ? *name->as_string() : "") +
                            "\": a call of this name cannot be forced");
    const Value* parameters = function.find("parameters");
    const Value none;
    const std::string rule = "call-" + std::to_string(n_tools++);
    ArgumentGrammar arguments(format, *name->as_string(), rule, parameters ? *parameters : none);
    rules += rule +
             " ::= " + call_expression(layout.each, *name->as_string(), arguments.expression()) +
             "\n" + arguments.rules();
    choices += (choices.empty() ? "" : " | ") + rule;
    std::move(arguments.schemas().begin(), arguments.schemas().end(),
              std::back_inserter(constraint.schemas));
  }
  const auto literal = [](const std::string& text) {
    return text.empty() ? "" : gbnf_literal(text) + " ";
  };
  // A mark that ends a call and begins the next is the end of a message: such models call once a
  // message, as harmony's do.
  const bool is_one =
      !allows_parallel || is_harmony ||
      (!format.call_close.empty() && format.call_open.starts_with(format.call_close));
  std::string& grammar = constraint.grammar;
  grammar = "root ::= " + std::string(is_harmony ? kHarmonyStart : "") + "calls\n";
  grammar += "calls ::= " + literal(layout.before_all) + "one-call ";
  if (!is_one)
    grammar += "(" + literal(layout.between) + "one-call)" + std::string(kMoreCalls) + " ";
  grammar += literal(layout.after_all) + "\none-call ::= " + choices + "\n" + rules;
  if (format.syntax == CallSyntax::kGemma) grammar += kGemmaRules;
  return constraint;
}

OutputConstraint constrain_either(const AnswerFormat& format, const OutputConstraint& content,
                                  OutputConstraint calls) {
  constexpr std::string_view kRoot = "root ::= ";
  std::string_view rule = content.grammar;
  if (rule.starts_with(kRoot)) rule.remove_prefix(kRoot.size());
  while (rule.ends_with('\n') || rule.ends_with(' ')) rule.remove_suffix(1);
  if (content.schemas.size() != 1 || rule != content.schemas[0].first)
    throw EngineError(ErrorCode::kInvalidRequest,
                      "a grammar for the answer and tools cannot be asked for together");
  const bool is_harmony = format.syntax == CallSyntax::kHarmony;
  const std::string root = std::string(kRoot) + std::string(is_harmony ? kHarmonyStart : "") +
                           "(calls | " + std::string(is_harmony ? kFinalMessage : "") +
                           std::string(rule) + ")";
  calls.grammar = root + calls.grammar.substr(calls.grammar.find('\n'));
  calls.schemas.push_back(content.schemas[0]);
  return calls;
}

void free_thinking(const AnswerFormat& format, std::string_view prompt, bool may_think,
                   bool is_content, OutputConstraint& constraint) {
  while (!prompt.empty() &&
         std::string_view(" \t\r\n").find(prompt.back()) != std::string_view::npos)
    prompt.remove_suffix(1);
  if (format.syntax == CallSyntax::kHarmony) {
    if (prompt.ends_with("<|channel|>final<|message|>")) return;
    // What is said stands in the final message; anything may stand before it.
    constraint.free_open = is_content ? "<|channel|>" : "<|channel|>analysis<|message|>";
    constraint.free_close = is_content ? "final<|message|>" : "<|end|>";
    constraint.begins_free = prompt.ends_with("<|message|>");
    return;
  }
  const bool has_begun = !format.think_open.empty() && prompt.ends_with(format.think_open);
  if (format.think_open.empty() || (!may_think && !has_begun)) return;
  constraint.free_open = format.think_open;
  constraint.free_close = format.think_close;
  constraint.begins_free = has_begun;
}

}  // namespace olx::engine
