#include "engine/text/jinja/lexer.h"

#include <algorithm>
#include <array>

#include "engine/text/jinja/error.h"
#include "engine/text/jinja/unicode_text.h"
#include "gguf/ascii.h"

namespace olx::engine::jinja {
namespace {

bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
bool is_name_start(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (c & 0x80);
}
bool is_name_char(char c) { return is_name_start(c) || ascii::is_digit(c); }

// Jinja2 reads every newline form as "\n" and drops one newline at the very end of the source.
std::string normalised(std::string_view source) {
  std::string text;
  text.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r') {
      text += '\n';
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
    } else {
      text += source[i];
    }
  }
  if (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

class Lexer {
 public:
  explicit Lexer(std::string_view source) : src_(normalised(source)) {}

  std::vector<Token> run() {
    while (pos_ < src_.size()) lex_root();
    tokens_.push_back({TokenKind::kEnd, "", line_});
    return std::move(tokens_);
  }

 private:
  char at(size_t i) const { return i < src_.size() ? src_[i] : '\0'; }
  bool looking_at(size_t i, std::string_view what) const {
    return src_.compare(i, what.size(), what) == 0;
  }
  void advance_to(size_t end) {
    line_ += static_cast<int>(std::count(src_.begin() + static_cast<ptrdiff_t>(pos_),
                                         src_.begin() + static_cast<ptrdiff_t>(end), '\n'));
    pos_ = end;
  }
  size_t skip_spaces(size_t i) const {
    while (i < src_.size() && is_space(src_[i])) ++i;
    return i;
  }

  // Text before a tag: '-' strips all white space; otherwise a block or comment takes the blanks between the start of its
  // line and itself, unless marked '+'.
  std::string_view stripped(std::string_view text, char sign, bool is_variable) const {
    if (sign == '-') return rstrip_spaces(text);
    if (sign == '+' || is_variable) return text;
    const size_t newline = text.rfind('\n');
    const size_t start = newline == std::string_view::npos ? 0 : newline + 1;
    if (start == 0 && !line_starting_) return text;
    const std::string_view tail = text.substr(start);
    return rstrip_spaces(tail).empty() ? text.substr(0, start) : text;
  }

  void add_text(std::string_view text) {
    if (!text.empty()) tokens_.push_back({TokenKind::kText, std::string(text), line_});
  }

  void lex_root() {
    size_t tag = pos_;
    while (tag < src_.size() &&
           !(src_[tag] == '{' && (at(tag + 1) == '{' || at(tag + 1) == '%' || at(tag + 1) == '#')))
      ++tag;
    const std::string_view text = std::string_view(src_).substr(pos_, tag - pos_);
    if (tag >= src_.size()) {
      add_text(text);
      advance_to(src_.size());
      return;
    }
    const char kind = src_[tag + 1];
    const char sign = at(tag + 2) == '-' || at(tag + 2) == '+' ? src_[tag + 2] : '\0';
    size_t inside = tag + 2 + (sign ? 1 : 0);
    add_text(stripped(text, sign, kind == '{'));
    advance_to(tag);
    if (kind == '#') return lex_comment();
    if (kind == '%') {
      const size_t word = skip_spaces(inside);
      if (looking_at(word, "raw")) {
        const size_t after = skip_spaces(word + 3);
        if (looking_at(after, "%}")) return lex_raw(after + 2);
        if (looking_at(after, "-%}")) return lex_raw(skip_spaces(after + 3));
      }
    }
    advance_to(inside);
    tokens_.push_back({kind == '{' ? TokenKind::kVariableBegin : TokenKind::kBlockBegin, "", line_});
    lex_code(kind == '{');
  }

  // After the end of a block or comment: trim_blocks takes one newline, '-' takes all white space, '+' nothing.
  void finish_tag(size_t end, char sign, bool trims_newline) {
    if (sign == '-') end = skip_spaces(end);
    else if (sign != '+' && trims_newline && at(end) == '\n') ++end;
    line_starting_ = end > 0 && src_[end - 1] == '\n';
    advance_to(end);
  }

  void lex_comment() {
    const size_t end = src_.find("#}", pos_ + 2);
    if (end == std::string::npos) syntax_error(line_, "Missing end of comment tag");
    const char sign = end > pos_ + 2 ? src_[end - 1] : '\0';
    finish_tag(end + 2, sign, true);
  }

  void lex_raw(size_t body) {
    advance_to(body);
    for (size_t i = src_.find("{%", body); i != std::string::npos; i = src_.find("{%", i + 2)) {
      const char sign = at(i + 2) == '-' || at(i + 2) == '+' ? src_[i + 2] : '\0';
      const size_t word = skip_spaces(i + 2 + (sign ? 1 : 0));
      if (!looking_at(word, "endraw")) continue;
      size_t end = skip_spaces(word + 6);
      char end_sign = '\0';
      if (at(end) == '-' || at(end) == '+') end_sign = src_[end++];
      if (!looking_at(end, "%}")) continue;
      add_text(stripped(std::string_view(src_).substr(body, i - body), sign, false));
      return finish_tag(end + 2, end_sign, true);
    }
    syntax_error(line_, "Missing end of raw directive");
  }

  void lex_code(bool is_variable) {
    const char* close = is_variable ? "}}" : "%}";
    brackets_.clear();
    while (true) {
      advance_to(skip_spaces(pos_));
      if (pos_ >= src_.size()) syntax_error(line_, "unexpected end of template");
      if (brackets_.empty()) {
        size_t end = pos_;
        char sign = '\0';
        if ((at(end) == '-' || (at(end) == '+' && !is_variable)) && looking_at(end + 1, close))
          sign = src_[end++];
        if (looking_at(end, close)) {
          tokens_.push_back({is_variable ? TokenKind::kVariableEnd : TokenKind::kBlockEnd, "", line_});
          return finish_tag(end + 2, sign, !is_variable);
        }
      }
      lex_token();
    }
  }

  void add(TokenKind kind, std::string text, size_t end) {
    tokens_.push_back({kind, std::move(text), line_});
    advance_to(end);
  }

  void lex_token() {
    const char c = src_[pos_];
    if (ascii::is_digit(c)) return lex_number();
    if (is_name_start(c)) {
      size_t end = pos_;
      while (end < src_.size() && is_name_char(src_[end])) ++end;
      return add(TokenKind::kName, src_.substr(pos_, end - pos_), end);
    }
    if (c == '"' || c == '\'') return lex_string(c);
    static constexpr std::array<std::string_view, 6> kTwo = {"//", "**", "==", "!=", ">=", "<="};
    for (std::string_view op : kTwo)
      if (looking_at(pos_, op)) return add(TokenKind::kOperator, std::string(op), pos_ + 2);
    static constexpr std::string_view kOne = "+-/*%~[](){}><=.:|,;";
    if (kOne.find(c) == std::string_view::npos)
      syntax_error(line_, std::string("unexpected char '") + c + "'");
    if (c == '(' || c == '[' || c == '{') brackets_ += c == '(' ? ')' : c == '[' ? ']' : '}';
    if (c == ')' || c == ']' || c == '}') {
      if (brackets_.empty()) syntax_error(line_, std::string("unexpected '") + c + "'");
      if (brackets_.back() != c)
        syntax_error(line_, std::string("unexpected '") + c + "', expected '" + brackets_.back() + "'");
      brackets_.pop_back();
    }
    add(TokenKind::kOperator, std::string(1, c), pos_ + 1);
  }

  // Digits with single '_' between them, from i; returns the end.
  size_t digits(size_t i, std::string& out) const {
    while (ascii::is_digit(at(i)) || (at(i) == '_' && !out.empty() && ascii::is_digit(at(i + 1)))) {
      if (src_[i] != '_') out += src_[i];
      ++i;
    }
    return i;
  }

  void lex_number() {
    const char base = static_cast<char>(at(pos_ + 1) | 0x20);
    if (src_[pos_] == '0' && (base == 'x' || base == 'o' || base == 'b')) {
      std::string text = std::string("0") + base;
      size_t end = pos_ + 2;
      while (is_name_char(at(end)) && !(at(end) & 0x80)) {
        if (src_[end] != '_') text += src_[end];
        ++end;
      }
      return add(TokenKind::kInteger, std::move(text), end);
    }
    std::string text;
    size_t end = digits(pos_, text);
    // "a.0.1" is two subscripts, not a float.
    const bool after_dot = pos_ > 0 && src_[pos_ - 1] == '.';
    bool is_float = false;
    if (!after_dot && at(end) == '.' && ascii::is_digit(at(end + 1))) {
      std::string fraction;
      end = digits(end + 1, fraction);
      text += "." + fraction;
      is_float = true;
    }
    if (!after_dot && (at(end) | 0x20) == 'e') {
      size_t exponent = end + 1;
      std::string sign;
      if (at(exponent) == '+' || at(exponent) == '-') sign = src_[exponent++];
      std::string power;
      const size_t stop = digits(exponent, power);
      if (!power.empty()) {
        text += "e" + sign + power;
        end = stop;
        is_float = true;
      }
    }
    add(is_float ? TokenKind::kFloat : TokenKind::kInteger, std::move(text), end);
  }

  void lex_string(char quote) {
    std::string text;
    size_t i = pos_ + 1;
    for (; at(i) != quote || i >= src_.size();) {
      if (i >= src_.size()) syntax_error(line_, std::string("unexpected char '") + quote + "'");
      if (src_[i] != '\\') {
        text += src_[i++];
        continue;
      }
      i = escape(i + 1, text);
    }
    add(TokenKind::kString, std::move(text), i + 1);
  }

  // One escape sequence, as Python's unicode_escape codec reads it; i is after the backslash. Returns the end.
  size_t escape(size_t i, std::string& out) {
    if (i >= src_.size()) syntax_error(line_, "unterminated string");
    const char c = src_[i];
    static constexpr std::string_view kFrom = "abfnrtv\\'\"";
    static constexpr std::string_view kTo = "\a\b\f\n\r\t\v\\'\"";
    if (const size_t which = kFrom.find(c); which != std::string_view::npos) {
      out += kTo[which];
      return i + 1;
    }
    if (c == '\n') return i + 1;
    if (c >= '0' && c <= '7') {
      uint32_t code = 0;
      size_t n = 0;
      for (; n < 3 && at(i + n) >= '0' && at(i + n) <= '7'; ++n)
        code = code * 8 + static_cast<uint32_t>(src_[i + n] - '0');
      append_utf8(out, code);
      return i + n;
    }
    if (c == 'x' || c == 'u' || c == 'U') {
      const size_t n = c == 'x' ? 2 : c == 'u' ? 4 : 8;
      uint32_t code = 0;
      for (size_t k = 1; k <= n; ++k) {
        const char h = at(i + k);
        const char lower = static_cast<char>(h | 0x20);
        if (!ascii::is_digit(h) && !(lower >= 'a' && lower <= 'f'))
          syntax_error(line_, std::string("truncated \\") + c + " escape in a string");
        code = code * 16 + static_cast<uint32_t>(ascii::is_digit(h) ? h - '0' : lower - 'a' + 10);
      }
      if (code > 0x10FFFF) syntax_error(line_, "illegal Unicode character in a string");
      append_utf8(out, code);
      return i + 1 + n;
    }
    out += '\\';
    out += c;
    return i + 1;
  }

  std::string src_;
  size_t pos_ = 0;
  int line_ = 1;
  bool line_starting_ = true;
  std::string brackets_;  // closers still expected
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> lex(std::string_view source) { return Lexer(source).run(); }

}  // namespace olx::engine::jinja
