#include "engine/answer/literal_reader.h"

#include <array>
#include <charconv>
#include <cmath>
#include <utility>

#include "engine/text/pretokenize/unicode.h"
#include "gguf/ascii.h"

namespace olx::engine {
namespace {

bool is_space(char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; }
bool is_name_char(char c) {
  return ascii::is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || static_cast<unsigned char>(c) >= 0x80;
}

}  // namespace

void LiteralReader::skip_space() {
  while (!is_at_end() && is_space(peek())) ++at_;
}

bool LiteralReader::take(std::string_view expected) {
  const size_t before = at_;
  skip_space();
  if (rest().starts_with(expected)) {
    at_ += expected.size();
    return true;
  }
  at_ = before;
  return false;
}

std::string_view LiteralReader::take_name() {
  skip_space();
  const size_t begin = at_;
  while (!is_at_end() && (is_name_char(peek()) || (at_ > begin && (peek() == '.' || peek() == '-')))) ++at_;
  return text_.substr(begin, at_ - begin);
}

ReadResult LiteralReader::read_value(Value& value, int depth) {
  skip_space();
  if (is_at_end()) return ReadResult::kUnfinished;
  const char c = peek();
  if (c == '{') return depth < max_depth_ ? read_map(value, depth) : ReadResult::kBroken;
  if (c == '[') return depth < max_depth_ ? read_list(value, depth) : ReadResult::kBroken;
  if (c == '"' || c == '\'' || c == '<') {
    std::string text;
    const ReadResult result = read_string(text);
    if (result == ReadResult::kWhole) value = Value(std::move(text));
    return result;
  }
  if (c == '-' || ascii::is_digit(c)) return read_number(value);
  return read_word(value);
}

ReadResult LiteralReader::read_map(Value& value, int depth) {
  ValueMap map;
  ++at_;
  if (!take("}")) {
    for (;;) {
      std::string key;
      if (const ReadResult result = read_key(key); result != ReadResult::kWhole) return result;
      if (!take(":")) return skip_space(), is_at_end() ? ReadResult::kUnfinished : ReadResult::kBroken;
      Value member;
      if (const ReadResult result = read_value(member, depth + 1); result != ReadResult::kWhole) return result;
      map.emplace_back(std::move(key), std::move(member));
      if (take("}")) break;
      if (!take(",")) return skip_space(), is_at_end() ? ReadResult::kUnfinished : ReadResult::kBroken;
      if (take("}")) break;  // a comma too many is no reason to lose a call
    }
  }
  value = Value(std::move(map));
  return ReadResult::kWhole;
}

ReadResult LiteralReader::read_list(Value& value, int depth) {
  ValueList list;
  ++at_;
  if (!take("]")) {
    for (;;) {
      Value item;
      if (const ReadResult result = read_value(item, depth + 1); result != ReadResult::kWhole) return result;
      list.push_back(std::move(item));
      if (take("]")) break;
      if (!take(",")) return skip_space(), is_at_end() ? ReadResult::kUnfinished : ReadResult::kBroken;
      if (take("]")) break;
    }
  }
  value = Value(std::move(list));
  return ReadResult::kWhole;
}

ReadResult LiteralReader::read_key(std::string& out) {
  skip_space();
  if (is_at_end()) return ReadResult::kUnfinished;
  if (peek() == '"' || peek() == '\'' || peek() == '<') return read_string(out);
  out = take_name();
  if (out.empty()) return ReadResult::kBroken;
  return is_at_end() ? ReadResult::kUnfinished : ReadResult::kWhole;
}

ReadResult LiteralReader::read_string(std::string& out) {
  if (peek() == '<') {
    if (!rest().starts_with(kGemmaQuote)) return kGemmaQuote.starts_with(rest()) ? ReadResult::kUnfinished : ReadResult::kBroken;
    at_ += kGemmaQuote.size();
    const size_t end = text_.find(kGemmaQuote, at_);
    if (end == std::string_view::npos) return ReadResult::kUnfinished;
    out = text_.substr(at_, end - at_);
    at_ = end + kGemmaQuote.size();
    return ReadResult::kWhole;
  }
  const char quote = text_[at_++];
  while (!is_at_end()) {
    const char c = text_[at_++];
    if (c == quote) return ReadResult::kWhole;
    if (c != '\\') {
      out += c;
      continue;
    }
    if (const ReadResult result = read_escape(quote, out); result != ReadResult::kWhole) return result;
  }
  return ReadResult::kUnfinished;
}

ReadResult LiteralReader::read_hex(size_t n_digits, uint32_t& code) {
  code = 0;
  for (size_t i = 0; i < n_digits; ++i) {
    if (is_at_end()) return ReadResult::kUnfinished;
    const char c = text_[at_++];
    const int digit = ascii::is_digit(c) ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
    if (digit < 0) return ReadResult::kBroken;
    code = code * 16 + static_cast<uint32_t>(digit);
  }
  return ReadResult::kWhole;
}

// After the backslash. Half a surrogate pair becomes U+FFFD.
ReadResult LiteralReader::read_escape(char quote, std::string& out) {
  if (is_at_end()) return ReadResult::kUnfinished;
  constexpr std::array<std::pair<char, char>, 5> kSimple{{{'n', '\n'}, {'t', '\t'}, {'r', '\r'}, {'b', '\b'}, {'f', '\f'}}};
  const char c = text_[at_++];
  if (c == quote || c == '\\' || c == '/' || c == '"' || c == '\'') return out += c, ReadResult::kWhole;
  for (const auto& [letter, meaning] : kSimple)
    if (c == letter) return out += meaning, ReadResult::kWhole;
  if (c != 'u') return ReadResult::kBroken;
  uint32_t code = 0;
  if (const ReadResult result = read_hex(4, code); result != ReadResult::kWhole) return result;
  if (code >= 0xD800 && code < 0xDC00 && rest().starts_with("\\u")) {
    const size_t before = at_;
    at_ += 2;
    uint32_t low = 0;
    if (const ReadResult result = read_hex(4, low); result != ReadResult::kWhole) return result;
    if (low >= 0xDC00 && low < 0xE000) code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
    else at_ = before;
  }
  append_utf8(out, code >= 0xD800 && code < 0xE000 ? kReplacementChar : code);
  return ReadResult::kWhole;
}

ReadResult LiteralReader::read_word(Value& value) {
  const size_t begin = at_;
  while (!is_at_end() && is_name_char(peek())) ++at_;
  const std::string_view word = text_.substr(begin, at_ - begin);
  struct Constant { std::string_view word; Value value; };
  const std::array<Constant, 6> constants{{{"true", true}, {"false", false}, {"null", nullptr},
                                           {"True", true}, {"False", false}, {"None", nullptr}}};
  for (const Constant& constant : constants) {
    if (word == constant.word) return value = constant.value, ReadResult::kWhole;
    if (is_at_end() && constant.word.starts_with(word)) return ReadResult::kUnfinished;
  }
  return ReadResult::kBroken;
}

ReadResult LiteralReader::read_number(Value& value) {
  const size_t begin = at_;
  bool is_integer = true;
  if (peek() == '-') ++at_;
  while (!is_at_end() && (ascii::is_digit(peek()) || peek() == '.' || peek() == 'e' || peek() == 'E' || peek() == '+' || peek() == '-')) {
    is_integer = is_integer && ascii::is_digit(peek());
    ++at_;
  }
  const char* first = text_.data() + begin;
  const char* last = text_.data() + at_;
  if (is_integer) {
    int64_t number = 0;
    const auto [end, error] = std::from_chars(first, last, number);
    if (error == std::errc() && end == last) return value = Value(number), ReadResult::kWhole;
  }
  double number = 0;
  const auto [end, error] = std::from_chars(first, last, number);
  if (error == std::errc() && end == last && std::isfinite(number)) return value = Value(number), ReadResult::kWhole;
  return is_at_end() ? ReadResult::kUnfinished : ReadResult::kBroken;
}

}  // namespace olx::engine
