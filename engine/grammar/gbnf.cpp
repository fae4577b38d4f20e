#include "engine/grammar/gbnf.h"

#include <algorithm>

#include "engine/text/pretokenize/unicode.h"
#include "gguf/ascii.h"

namespace olx::engine {
namespace {

bool is_name_char(char c) {
  return ascii::is_alphanumeric(c) || c == '-' || c == '_';
}

class GbnfReader {
 public:
  GbnfReader(std::string_view text, RuleSet& rules) : text_(text), rules_(rules) {}

  void read() {
    skip_blanks(true);
    while (pos_ < text_.size()) {
      const std::string_view name = read_name();
      skip_blanks(false);
      if (!text_.substr(pos_).starts_with("::=")) fail("expected '::=' after the rule's name '" + std::string(name) + "'");
      pos_ += 3;
      skip_blanks(true);
      const Part body = read_alternatives(0);
      if (pos_ < text_.size() && text_[pos_] == ')') fail("')' without '('");
      rules_.define(rules_.rule_named(name), body.node);
      skip_blanks(true);
    }
  }

 private:
  // A node and the greatest product of repetitions inside one another in it.
  struct Part {
    NodeId node;
    uint64_t product = 1;
  };

  [[noreturn]] void fail(const std::string& what) const {
    const auto line = 1 + std::count(text_.begin(), text_.begin() + static_cast<ptrdiff_t>(std::min(pos_, text_.size())), '\n');
    refuse_grammar("grammar: line " + std::to_string(line) + ": " + what);
  }
  char peek() const { return pos_ < text_.size() ? text_[pos_] : '\0'; }

  void skip_blanks(bool over_lines) {
    while (pos_ < text_.size()) {
      const char c = text_[pos_];
      if (c == '#') {
        while (pos_ < text_.size() && text_[pos_] != '\n' && text_[pos_] != '\r') ++pos_;
      } else if (c == ' ' || c == '\t' || (over_lines && (c == '\n' || c == '\r'))) {
        ++pos_;
      } else {
        break;
      }
    }
  }

  std::string_view read_name() {
    const size_t begin = pos_;
    while (pos_ < text_.size() && is_name_char(text_[pos_])) ++pos_;
    if (pos_ == begin) fail(pos_ < text_.size() ? "expected a rule's name, got '" + std::string(1, text_[pos_]) + "'" : "expected a rule's name");
    return text_.substr(begin, pos_ - begin);
  }

  Part read_alternatives(int depth) {
    if (depth > rules_.limits().max_depth) fail("parentheses are nested deeper than " + std::to_string(rules_.limits().max_depth));
    std::vector<NodeId> alternatives;
    uint64_t product = 1;
    while (true) {
      const Part part = read_sequence(depth);
      alternatives.push_back(part.node);
      product = std::max(product, part.product);
      // Outside parentheses a rule ends with its line, unless the next one goes on with '|'.
      const size_t end = pos_;
      skip_blanks(true);
      if (peek() != '|') {
        if (depth == 0) pos_ = end;
        break;
      }
      ++pos_;
      skip_blanks(true);
    }
    return {rules_.choice(std::move(alternatives)), product};
  }

  Part read_sequence(int depth) {
    std::vector<NodeId> parts;
    uint64_t product = 1;
    while (pos_ < text_.size()) {
      const char c = text_[pos_];
      Part part{0};
      if (c == '"') {
        part.node = read_literal();
      } else if (c == '[') {
        part.node = read_class();
      } else if (c == '.') {
        ++pos_;
        part.node = rules_.characters(complement({}));
      } else if (c == '(') {
        ++pos_;
        skip_blanks(true);
        part = read_alternatives(depth + 1);
        skip_blanks(true);
        if (peek() != ')') fail("expected ')'");
        ++pos_;
      } else if (is_name_char(c)) {
        part.node = rules_.call(rules_.rule_named(read_name()));
      } else if (c == '<' || (c == '!' && text_.substr(pos_).starts_with("!<"))) {
        fail("tokens in a grammar (<...>) are not supported; write the text in quotes");
      } else if (c == '*' || c == '+' || c == '?' || c == '{') {
        fail(std::string("'") + c + "' has nothing before it to repeat");
      } else if (c == '|' || c == ')' || c == '\n' || c == '\r') {
        break;
      } else {
        fail(std::string("expected a literal, a class, a group or a rule's name, got '") + c + "'");
      }
      skip_blanks(depth > 0);
      while (repeat(part)) skip_blanks(depth > 0);
      parts.push_back(part.node);
      product = std::max(product, part.product);
    }
    return {rules_.sequence(std::move(parts)), product};
  }

  bool repeat(Part& part) {
    uint64_t min = 0, max = kUnbounded;
    switch (peek()) {
      case '*': ++pos_; break;
      case '+': ++pos_; min = 1; break;
      case '?': ++pos_; max = 1; break;
      case '{': {
        ++pos_;
        skip_blanks(true);
        min = read_number();
        max = min;
        skip_blanks(true);
        if (peek() == ',') {
          ++pos_;
          skip_blanks(true);
          max = peek() == '}' ? uint64_t{kUnbounded} : read_number();
          skip_blanks(true);
        }
        if (peek() != '}') fail("expected '}' after a repetition");
        ++pos_;
        if (max < min) fail("a repetition from " + std::to_string(min) + " to " + std::to_string(max) + " times is empty");
        part.product *= std::max<uint64_t>(max == kUnbounded ? min : max, 1);
        if (part.product > rules_.limits().max_repetition_product)
          fail("repetitions inside one another: expected a product of at most " +
               std::to_string(rules_.limits().max_repetition_product) + ", got " + std::to_string(part.product));
        break;
      }
      default: return false;
    }
    part.node = rules_.repeat(part.node, static_cast<uint32_t>(min), static_cast<uint32_t>(max));
    return true;
  }

  uint64_t read_number() {
    std::string fault;
    const uint64_t number = read_repetition(text_, pos_, rules_.limits(), fault);
    if (!fault.empty()) fail(fault);
    return number;
  }

  uint32_t read_character() {
    if (pos_ >= text_.size() || text_[pos_] == '\n' || text_[pos_] == '\r') fail("the line ends inside quotes or brackets");
    if (text_[pos_] != '\\') {
      const Utf8Char c = decode_utf8(text_, pos_);
      if (!c.valid) fail("the text is not UTF-8");
      pos_ += c.n_bytes;
      return c.code;
    }
    ++pos_;
    const char c = peek();
    if (pos_ < text_.size()) ++pos_;
    switch (c) {
      case 'n': return '\n';
      case 'r': return '\r';
      case 't': return '\t';
      case 'x': return read_hex(2);
      case 'u': return read_hex(4);
      case 'U': return read_hex(8);
      case '\\': case '"': case '[': case ']': case '-': case '^': return static_cast<uint32_t>(c);
      default: fail(std::string("an escape '\\") + c + "' is not known (\\n \\r \\t \\xHH \\uHHHH \\UHHHHHHHH \\\\ \\\" \\[ \\] \\- \\^)");
    }
  }

  uint32_t read_hex(int n_digits) {
    uint32_t code = 0;
    for (int i = 0; i < n_digits; ++i, ++pos_) {
      const int digit = ascii::hex_digit(peek());
      if (digit < 0) fail("expected " + std::to_string(n_digits) + " hexadecimal digits");
      code = code << 4 | static_cast<uint32_t>(digit);
    }
    if (code > kMaxCodePoint || (code >= 0xD800 && code < 0xE000)) fail("an escape is no character");
    return code;
  }

  NodeId read_literal() {
    ++pos_;
    std::string bytes;
    while (peek() != '"') append_utf8(bytes, read_character());
    ++pos_;
    return rules_.literal(bytes);
  }

  NodeId read_class() {
    ++pos_;
    const bool is_negated = peek() == '^';
    if (is_negated) ++pos_;
    CodeRanges ranges;
    while (peek() != ']') {
      const uint32_t first = read_character();
      uint32_t last = first;
      if (peek() == '-' && pos_ + 1 < text_.size() && text_[pos_ + 1] != ']') {
        ++pos_;
        last = read_character();
        if (last < first) fail("a class has a range that runs backwards");
      }
      ranges.push_back({first, last});
    }
    ++pos_;
    return rules_.characters(is_negated ? complement(ranges) : sorted_ranges(ranges));
  }

  std::string_view text_;
  RuleSet& rules_;
  size_t pos_ = 0;
};

}  // namespace

void read_gbnf(std::string_view text, RuleSet& rules) { GbnfReader(text, rules).read(); }

}  // namespace olx::engine
