#pragma once
// Cuts a Jinja template into tokens, with Jinja2's whitespace rules (trim_blocks and lstrip_blocks on, the settings of
// Hugging Face's apply_chat_template). Used by the parser only; knows no grammar beyond brackets.

#include <string>
#include <string_view>
#include <vector>

namespace olx::engine::jinja {

enum class TokenKind {
  kText, kVariableBegin, kVariableEnd, kBlockBegin, kBlockEnd,
  kName, kString, kInteger, kFloat, kOperator, kEnd,
};

struct Token {
  TokenKind kind = TokenKind::kEnd;
  std::string text;      // decoded for strings, digits without '_' for numbers
  int line = 1;
  bool is(TokenKind k, std::string_view t) const { return kind == k && text == t; }
  bool is_op(std::string_view t) const { return is(TokenKind::kOperator, t); }
  bool is_name(std::string_view t) const { return is(TokenKind::kName, t); }
};

// Throws EngineError(kUnsupported) with the line. The last token is kEnd.
std::vector<Token> lex(std::string_view source);

}  // namespace olx::engine::jinja
