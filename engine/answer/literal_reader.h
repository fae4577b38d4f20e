#pragma once
// Reads one value out of what a model wrote: JSON, and what models write when they mean JSON (Python's quotes and constants,
// keys without quotes, Gemma's string marks). Used by the call readers. Not for requests: those are the server's, and strict.

#include <string>
#include <string_view>

#include "engine/value.h"

namespace olx::engine {

inline constexpr std::string_view kGemmaQuote = "<|\"|>";  // around a text, at both ends

enum class ReadResult {
  kWhole,
  kUnfinished,  // right so far, but it ends too early
  kBroken,
};

class LiteralReader {
 public:
  // max_depth: lists and maps within each other.
  explicit LiteralReader(std::string_view text, int max_depth = 64) : text_(text), max_depth_(max_depth) {}

  // Reads one value from the current place, white space before it included.
  ReadResult read(Value& value) { return read_value(value, 0); }
  // Takes `expected` (after white space) if it is there.
  bool take(std::string_view expected);
  // A name such as get_weather or fs.read-file; "" when there is none.
  std::string_view take_name();
  void skip_space();
  bool is_at_end() const { return at_ >= text_.size(); }
  char peek() const { return text_[at_]; }
  size_t position() const { return at_; }
  void seek(size_t position) { at_ = position; }
  std::string_view rest() const { return text_.substr(at_); }

 private:
  ReadResult read_value(Value& value, int depth);
  ReadResult read_map(Value& value, int depth);
  ReadResult read_list(Value& value, int depth);
  ReadResult read_string(std::string& out);
  ReadResult read_key(std::string& out);
  ReadResult read_escape(char quote, std::string& out);
  ReadResult read_hex(size_t n_digits, uint32_t& code);
  ReadResult read_word(Value& value);
  ReadResult read_number(Value& value);

  std::string_view text_;
  size_t at_ = 0;
  int max_depth_;
};

}  // namespace olx::engine
