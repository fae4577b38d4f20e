#pragma once
// Cuts a Go template into text and action tokens, and applies the trim markers "{{- " and " -}}". Used by the parser only.

#include <string>
#include <string_view>
#include <vector>

namespace olx::engine::gotemplate {

enum class TokenKind {
  kText, kOpen, kClose, kSpace, kIdentifier, kField, kVariable, kDot, kString, kChar, kNumber,
  kPipe, kLeftParen, kRightParen, kDeclare, kAssign, kComma, kEnd,
};

struct Token {
  TokenKind kind = TokenKind::kEnd;
  std::string text;  // decoded strings; fields and variables without '.' or with '$'
  int line = 1;
};

// Throws EngineError(kUnsupported) with the line.
std::vector<Token> lex(std::string_view source);

[[noreturn]] void syntax_error(int line, const std::string& what);

}  // namespace olx::engine::gotemplate
