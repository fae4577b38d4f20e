#include "engine/text/gotemplate/lexer.h"

#include <algorithm>
#include <cstdint>

#include "engine/error.h"
#include "gguf/ascii.h"

namespace olx::engine::gotemplate {

void syntax_error(int line, const std::string& what) {
  throw EngineError(ErrorCode::kUnsupported, "template line " + std::to_string(line) + ": " + what);
}

namespace {

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }
bool is_word(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || ascii::is_digit(c) || (c & 0x80);
}

void append_utf8(std::string& out, uint32_t code) {
  if (code < 0x80) {
    out += static_cast<char>(code);
    return;
  }
  const int n = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
  static constexpr unsigned char kLead[] = {0, 0xC0, 0xE0, 0xF0};
  out += static_cast<char>(kLead[n] | (code >> (6 * n)));
  for (int i = n - 1; i >= 0; --i) out += static_cast<char>(0x80 | ((code >> (6 * i)) & 0x3F));
}

class Lexer {
 public:
  explicit Lexer(std::string_view source) : src_(source) {}

  std::vector<Token> run() {
    bool trims_left = false;  // of the text that follows, because of " -}}"
    while (true) {
      const size_t open = std::min(src_.find("{{", pos_), src_.size());
      std::string_view text = src_.substr(pos_, open - pos_);
      const bool has_tag = open < src_.size();
      const bool trims_right = has_tag && open + 3 < src_.size() && src_[open + 2] == '-' && is_space(src_[open + 3]);
      if (trims_left)
        while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
      if (trims_right)
        while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
      if (!text.empty()) add(TokenKind::kText, std::string(text));
      advance_to(open);
      if (!has_tag) break;
      advance_to(open + (trims_right ? 3 : 2));
      trims_left = lex_action();
    }
    add(TokenKind::kEnd, "");
    return std::move(tokens_);
  }

 private:
  char at(size_t i) const { return i < src_.size() ? src_[i] : '\0'; }
  void add(TokenKind kind, std::string text) { tokens_.push_back({kind, std::move(text), line_}); }
  void advance_to(size_t end) {
    line_ += static_cast<int>(std::count(src_.begin() + pos_, src_.begin() + end, '\n'));
    pos_ = end;
  }

  // True when the action ended in " -}}".
  bool lex_action() {
    size_t start = pos_;
    while (is_space(at(start))) ++start;
    if (at(start) == '/' && at(start + 1) == '*') {
      const size_t end = src_.find("*/", start + 2);
      if (end == std::string_view::npos) syntax_error(line_, "unclosed comment");
      size_t close = end + 2;
      const bool trims = is_space(at(close)) && at(close + 1) == '-';
      while (is_space(at(close))) ++close;
      if (trims) ++close;
      if (at(close) != '}' || at(close + 1) != '}') syntax_error(line_, "comment ends before closing delimiter");
      advance_to(close + 2);
      return trims;
    }
    add(TokenKind::kOpen, "");
    while (true) {
      if (pos_ >= src_.size()) syntax_error(line_, "unclosed action");
      if (is_space(at(pos_))) {
        size_t end = pos_;
        while (is_space(at(end))) ++end;
        if (at(end) == '-' && at(end + 1) == '}' && at(end + 2) == '}') {
          advance_to(end + 3);
          add(TokenKind::kClose, "");
          return true;
        }
        add(TokenKind::kSpace, "");
        advance_to(end);
      } else if (at(pos_) == '}' && at(pos_ + 1) == '}') {
        advance_to(pos_ + 2);
        add(TokenKind::kClose, "");
        return false;
      } else {
        lex_token();
      }
    }
  }

  void simple(TokenKind kind, size_t n) {
    add(kind, std::string(src_.substr(pos_, n)));
    advance_to(pos_ + n);
  }

  void lex_token() {
    const char c = at(pos_);
    switch (c) {
      case '|': return simple(TokenKind::kPipe, 1);
      case '(': return simple(TokenKind::kLeftParen, 1);
      case ')': return simple(TokenKind::kRightParen, 1);
      case ',': return simple(TokenKind::kComma, 1);
      case '=': return simple(TokenKind::kAssign, 1);
      case '"': return lex_string();
      case '`': return lex_raw_string();
      case '\'': return lex_char();
      default: break;
    }
    if (c == ':' && at(pos_ + 1) == '=') return simple(TokenKind::kDeclare, 2);
    size_t end = pos_ + 1;
    if (c == '.' && !ascii::is_digit(at(end))) {
      while (is_word(at(end))) ++end;
      add(end == pos_ + 1 ? TokenKind::kDot : TokenKind::kField, std::string(src_.substr(pos_ + 1, end - pos_ - 1)));
      return advance_to(end);
    }
    if (c == '$') {
      while (is_word(at(end))) ++end;
      add(TokenKind::kVariable, std::string(src_.substr(pos_, end - pos_)));
      return advance_to(end);
    }
    if (ascii::is_digit(c) || c == '.' || ((c == '-' || c == '+') && (ascii::is_digit(at(end)) || at(end) == '.'))) {
      while (is_word(at(end)) || at(end) == '.' ||
             ((at(end) == '-' || at(end) == '+') && (at(end - 1) | 0x20) == 'e'))
        ++end;
      return simple(TokenKind::kNumber, end - pos_);
    }
    if (is_word(c)) {
      while (is_word(at(end))) ++end;
      return simple(TokenKind::kIdentifier, end - pos_);
    }
    syntax_error(line_, std::string("unexpected character '") + c + "' in an action");
  }

  void lex_raw_string() {
    const size_t end = src_.find('`', pos_ + 1);
    if (end == std::string_view::npos) syntax_error(line_, "unterminated raw quoted string");
    std::string text;
    for (char c : src_.substr(pos_ + 1, end - pos_ - 1))
      if (c != '\r') text += c;
    add(TokenKind::kString, std::move(text));
    advance_to(end + 1);
  }

  void lex_string() {
    std::string text;
    size_t i = pos_ + 1;
    while (at(i) != '"') {
      if (i >= src_.size() || src_[i] == '\n') syntax_error(line_, "unterminated quoted string");
      if (src_[i] == '\\') i = escape(i + 1, text);
      else text += src_[i++];
    }
    add(TokenKind::kString, std::move(text));
    advance_to(i + 1);
  }

  // A character constant is its code.
  void lex_char() {
    std::string text;
    size_t i = pos_ + 1;
    while (at(i) != '\'') {
      if (i >= src_.size() || src_[i] == '\n') syntax_error(line_, "unterminated character constant");
      if (src_[i] == '\\') i = escape(i + 1, text);
      else text += src_[i++];
    }
    if (text.empty()) syntax_error(line_, "empty character constant");
    add(TokenKind::kChar, std::move(text));
    advance_to(i + 1);
  }

  // Go's interpreted string escapes; i is after the backslash. Returns the end.
  size_t escape(size_t i, std::string& out) {
    const char c = at(i);
    static constexpr std::string_view kFrom = "abfnrtv\\'\"";
    static constexpr std::string_view kTo = "\a\b\f\n\r\t\v\\'\"";
    if (const size_t which = c ? kFrom.find(c) : std::string_view::npos; which != std::string_view::npos) {
      out += kTo[which];
      return i + 1;
    }
    const bool is_octal = c >= '0' && c <= '7';
    const size_t n = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : is_octal ? 3 : 0;
    if (n == 0) syntax_error(line_, "unknown escape in a string");
    if (!is_octal) ++i;
    uint32_t code = 0;
    for (size_t k = 0; k < n; ++k) {
      const char h = at(i + k), lower = static_cast<char>(h | 0x20);
      const int digit = ascii::is_digit(h) ? h - '0' : lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : 99;
      if (digit >= (is_octal ? 8 : 16)) syntax_error(line_, "bad escape in a string");
      code = code * (is_octal ? 8 : 16) + static_cast<uint32_t>(digit);
    }
    if (code > 0x10FFFF) syntax_error(line_, "bad escape in a string");
    if (c == 'u' || c == 'U') append_utf8(out, code);
    else out += static_cast<char>(code);
    return i + n;
  }

  std::string_view src_;
  size_t pos_ = 0;
  int line_ = 1;
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> lex(std::string_view source) { return Lexer(source).run(); }

}  // namespace olx::engine::gotemplate
