#include "engine/grammar/schema/string_pattern.h"

#include <algorithm>
#include <memory>
#include <vector>

#include "engine/text/pretokenize/unicode.h"
#include "gguf/ascii.h"

namespace olx::engine {
namespace {

const CodeRanges kDigits{{'0', '9'}};
const CodeRanges kWords{{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
const CodeRanges kSpaces{{'\t', '\r'}, {' ', ' '}};
// \D, \W and \S mean other characters outside ASCII from one implementation to the next: only the common part is used.
const CodeRanges kAscii{{0x20, 0x7E}};

// What "any other character" stands for: not those that only an escape can write.
const CodeRanges kPrintable{{0x20, 0xD7FF}, {0xE000, kMaxCodePoint}};

// A parsed expression. Kept as a tree because lengths are asked of it before the grammar is made.
struct Part {
  enum class Kind { kClass, kSequence, kChoice, kRepeat } kind = Kind::kSequence;
  CodeRanges set;
  std::vector<Part> parts;
  uint32_t min = 0, max = 0;
};

uint64_t times(uint64_t a, uint64_t b) {
  if (a == 0 || b == 0) return 0;
  return a >= kUnbounded || b >= kUnbounded ? kUnbounded : std::min<uint64_t>(a * b, kUnbounded);
}

PatternLengths lengths(const Part& part) {
  switch (part.kind) {
    case Part::Kind::kClass: return {1, 1};
    case Part::Kind::kSequence: {
      PatternLengths all;
      for (const Part& one : part.parts) {
        const PatternLengths l = lengths(one);
        all.min = std::min<uint64_t>(all.min + l.min, kUnbounded);
        all.max = std::min<uint64_t>(all.max + l.max, kUnbounded);
      }
      return all;
    }
    case Part::Kind::kChoice: {
      PatternLengths all{kUnbounded, 0};
      for (const Part& one : part.parts) {
        const PatternLengths l = lengths(one);
        all.min = std::min(all.min, l.min);
        all.max = std::max(all.max, l.max);
      }
      return all;
    }
    case Part::Kind::kRepeat: {
      const PatternLengths l = lengths(part.parts[0]);
      return {times(l.min, part.min), times(l.max, part.max)};
    }
  }
  return {};
}

// Of the repetitions inside one another.
uint64_t product(const Part& part) {
  uint64_t inner = 1;
  for (const Part& one : part.parts) inner = std::max(inner, product(one));
  if (part.kind != Part::Kind::kRepeat) return inner;
  return inner * std::max<uint64_t>(part.max == kUnbounded ? part.min : part.max, 1);
}

class PatternReader {
 public:
  PatternReader(std::string_view text, const GrammarLimits& limits) : text_(text), limits_(limits) {}

  // The whole text, with "anything" in front and behind where an alternative is not anchored.
  Part read() {
    Part whole{Part::Kind::kChoice, {}, {}};
    const Part anything{Part::Kind::kRepeat, {}, {Part{Part::Kind::kClass, kPrintable}}, 0, kUnbounded};
    while (true) {
      Part alternative;
      bool is_anchored = take('^');
      if (!is_anchored) alternative.parts.push_back(anything);
      alternative.parts.push_back(read_sequence(0, true));
      is_anchored = take('$');
      if (!is_anchored) alternative.parts.push_back(anything);
      whole.parts.push_back(std::move(alternative));
      if (take('|')) continue;
      if (pos_ < text_.size()) fail(peek() == ')' ? "')' without '('" : "'$' is only supported at the end");
      return whole;
    }
  }

 private:
  [[noreturn]] void fail(const std::string& what) const { refuse_grammar("pattern '" + std::string(text_) + "': " + what); }
  char peek(size_t ahead = 0) const { return pos_ + ahead < text_.size() ? text_[pos_ + ahead] : '\0'; }
  bool take(char c) {
    if (pos_ >= text_.size() || text_[pos_] != c) return false;
    ++pos_;
    return true;
  }

  Part read_choice(int depth) {
    if (depth > limits_.max_depth) fail("groups are nested deeper than " + std::to_string(limits_.max_depth));
    Part choice{Part::Kind::kChoice, {}, {}};
    do choice.parts.push_back(read_sequence(depth, false));
    while (take('|'));
    return choice;
  }

  Part read_sequence(int depth, bool may_end_with_anchor) {
    Part sequence;
    while (pos_ < text_.size() && peek() != '|' && peek() != ')') {
      if (peek() == '$' && may_end_with_anchor) break;
      Part atom = read_atom(depth);
      if (read_repeat(atom) && is_repeat_ahead()) fail("two repetitions in a row");
      sequence.parts.push_back(std::move(atom));
    }
    return sequence;
  }

  Part read_atom(int depth) {
    const char c = peek();
    switch (c) {
      case '(': {
        ++pos_;
        if (take('?')) {
          if (take('<')) {
            if (peek() == '=' || peek() == '!') fail("look-behind is not supported");
            while (pos_ < text_.size() && peek() != '>') ++pos_;
            if (!take('>')) fail("a group's name does not end");
          } else if (!take(':')) {
            fail("look-ahead and flags are not supported");
          }
        }
        Part group = read_choice(depth + 1);
        if (!take(')')) fail("a group does not end");
        return group;
      }
      case '[': ++pos_; return {Part::Kind::kClass, read_class(), {}};
      case '.': ++pos_; return {Part::Kind::kClass, intersection(kPrintable, complement({{0x2028, 0x2029}})), {}};
      case '^': case '$': fail(std::string("'") + c + "' is only supported at the beginning or the end");
      case '*': case '+': case '?': fail(std::string("'") + c + "' has nothing to repeat");
      default: break;
    }
    if (c == '\\') {
      ++pos_;
      CodeRanges set;
      if (read_class_escape(set)) return {Part::Kind::kClass, set, {}};
      const uint32_t code = read_escape(false);
      return {Part::Kind::kClass, {{code, code}}, {}};
    }
    const uint32_t code = read_plain();
    return {Part::Kind::kClass, {{code, code}}, {}};
  }

  bool is_repeat_ahead() const {
    const char c = peek();
    return c == '*' || c == '+' || c == '?' || (c == '{' && peek(1) >= '0' && peek(1) <= '9');
  }

  bool read_repeat(Part& atom) {
    uint64_t min = 0, max = kUnbounded;
    if (!is_repeat_ahead()) return false;
    if (take('*')) {
    } else if (take('+')) {
      min = 1;
    } else if (take('?')) {
      max = 1;
    } else {
      ++pos_;
      min = read_number();
      max = min;
      if (take(',')) max = peek() == '}' ? uint64_t{kUnbounded} : read_number();
      if (!take('}')) fail("a repetition does not end");
      if (max < min) fail("a repetition has its bounds the wrong way round");
    }
    if (product(atom) * std::max<uint64_t>(max == kUnbounded ? min : max, 1) > limits_.max_repetition_product)
      fail("repetitions inside one another: expected a product of at most " + std::to_string(limits_.max_repetition_product));
    take('?');  // lazy or not: the same texts
    Part repeat{Part::Kind::kRepeat, {}, {}, static_cast<uint32_t>(min), static_cast<uint32_t>(max)};
    repeat.parts.push_back(std::move(atom));
    atom = std::move(repeat);
    return true;
  }

  uint64_t read_number() {
    std::string fault;
    const uint64_t number = read_repetition(text_, pos_, limits_, fault);
    if (!fault.empty()) fail(fault);
    return number;
  }

  uint32_t read_plain() {
    const Utf8Char c = decode_utf8(text_, pos_);
    if (!c.valid) fail("not UTF-8");
    pos_ += c.n_bytes;
    return c.code;
  }

  // After a backslash: \d and the like.
  bool read_class_escape(CodeRanges& set) {
    switch (peek()) {
      case 'd': set = kDigits; break;
      case 'w': set = kWords; break;
      case 's': set = kSpaces; break;
      case 'D': set = intersection(complement(kDigits), kAscii); break;
      case 'W': set = intersection(complement(kWords), kAscii); break;
      case 'S': set = intersection(complement(kSpaces), kAscii); break;
      default: return false;
    }
    ++pos_;
    return true;
  }

  uint32_t read_escape(bool in_class) {
    const char c = peek();
    if (pos_ < text_.size()) ++pos_;
    switch (c) {
      case 'n': return '\n';
      case 'r': return '\r';
      case 't': return '\t';
      case 'f': return '\f';
      case 'v': return '\v';
      case '0': return 0;
      case 'x': return read_hex(2);
      case 'u': {
        if (!take('{')) return read_hex(4);
        uint32_t code = 0;
        do code = std::min(code << 4 | read_hex(1), kMaxCodePoint + 1);
        while (pos_ < text_.size() && peek() != '}');
        if (!take('}') || code > kMaxCodePoint) fail("an escape is no character");
        return code;
      }
      case 'b':
        if (in_class) return '\b';
        break;
      default: break;
    }
    if (c == '\0' || ascii::is_alphanumeric(c)) fail(std::string("the escape '\\") + c + "' is not supported");
    if (static_cast<uint8_t>(c) >= 0x80) {
      --pos_;
      return read_plain();
    }
    return static_cast<uint32_t>(c);
  }

  uint32_t read_hex(int n_digits) {
    uint32_t code = 0;
    for (int i = 0; i < n_digits; ++i, ++pos_) {
      const int digit = ascii::hex_digit(peek());
      if (digit < 0) fail("expected hexadecimal digits");
      code = code << 4 | static_cast<uint32_t>(digit);
    }
    if (code >= 0xD800 && code < 0xE000) fail("an escape is half a character");
    return code;
  }

  CodeRanges read_class() {
    const bool is_negated = take('^');
    CodeRanges ranges;
    bool has_complement = false;  // \D in a negated class would need what \D leaves out
    bool has_set = false;         // \s, \w and \d differ outside ASCII too: a negated class with one keeps to ASCII
    while (!take(']')) {
      if (pos_ >= text_.size()) fail("a class does not end");
      CodeRanges set;
      uint32_t first = 0;
      bool is_set = false;
      if (take('\\')) {
        has_complement = has_complement || peek() == 'D' || peek() == 'W' || peek() == 'S';
        is_set = read_class_escape(set);
        if (!is_set) first = read_escape(true);
      } else {
        first = read_plain();
      }
      if (is_set) {
        has_set = true;
        ranges.insert(ranges.end(), set.begin(), set.end());
        continue;
      }
      uint32_t last = first;
      if (peek() == '-' && peek(1) != ']' && pos_ + 1 < text_.size()) {
        ++pos_;
        if (take('\\')) {
          if (read_class_escape(set)) fail("a range ends with a class");
          last = read_escape(true);
        } else {
          last = read_plain();
        }
        if (last < first) fail("a class has a range that runs backwards");
      }
      ranges.push_back({first, last});
    }
    if (is_negated && has_complement) fail("\\D, \\W and \\S in a negated class are not supported");
    const CodeRanges sorted = sorted_ranges(ranges);
    if (!is_negated) return sorted;
    return intersection(complement(sorted), has_set ? kAscii : kPrintable);
  }

  std::string_view text_;
  const GrammarLimits& limits_;
  size_t pos_ = 0;
};

NodeId lower(const Part& part, RuleSet& rules, JsonRules& json) {
  std::vector<NodeId> parts;
  switch (part.kind) {
    case Part::Kind::kClass: return json.character_of(part.set);
    case Part::Kind::kRepeat: return rules.repeat(lower(part.parts[0], rules, json), part.min, part.max);
    case Part::Kind::kSequence:
    case Part::Kind::kChoice: break;
  }
  for (const Part& one : part.parts) parts.push_back(lower(one, rules, json));
  return part.kind == Part::Kind::kSequence ? rules.sequence(std::move(parts)) : rules.choice(std::move(parts));
}

// The only part whose length varies, where there is just one and it repeats single characters; nullptr otherwise.
Part* only_variable(Part& part) {
  const PatternLengths l = lengths(part);
  if (l.min == l.max) return nullptr;
  if (part.kind == Part::Kind::kRepeat) {
    const PatternLengths one = lengths(part.parts[0]);
    return one.min == 1 && one.max == 1 ? &part : nullptr;
  }
  if (part.kind == Part::Kind::kChoice && part.parts.size() != 1) return nullptr;
  Part* found = nullptr;
  for (Part& one : part.parts) {
    const PatternLengths inner = lengths(one);
    if (inner.min == inner.max) continue;
    if (found != nullptr) return nullptr;
    found = only_variable(one);
    if (found == nullptr) return nullptr;
  }
  return found;
}

}  // namespace

NodeId pattern_text(std::string_view pattern, uint32_t min_length, uint32_t max_length, RuleSet& rules, JsonRules& json) {
  Part part = PatternReader(pattern, rules.limits()).read();
  const PatternLengths l = lengths(part);
  if (l.min < min_length || l.max > max_length) {
    Part* variable = only_variable(part);
    if (variable == nullptr)
      refuse_grammar("schema: 'pattern' together with 'minLength' or 'maxLength' is only supported where the pattern repeats one class: '" + std::string(pattern) + "'");
    const uint64_t others = l.min - variable->min;
    if (max_length < others + variable->min && max_length < kUnbounded) return rules.nothing();
    variable->min = static_cast<uint32_t>(std::max<uint64_t>(variable->min, min_length > others ? min_length - others : 0));
    if (max_length < kUnbounded) variable->max = static_cast<uint32_t>(std::min<uint64_t>(variable->max, max_length - others));
    if (variable->min > variable->max) return rules.nothing();
  }
  return lower(part, rules, json);
}

}  // namespace olx::engine
