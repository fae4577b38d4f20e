#include "engine/text/detokenizer.h"

#include <algorithm>

#include "engine/text/pretokenize/unicode.h"

namespace olx::engine {

Detokenizer::Detokenizer(const Tokenizer& tokenizer, std::vector<std::string> stops,
                         bool drop_first_space)
    : tokenizer_(tokenizer), stops_(std::move(stops)), drop_first_space_(drop_first_space) {
  // Text is well-formed, so a stop string that is not could only match inside a character.
  std::erase_if(stops_, [](const std::string& stop) { return stop.empty() || !is_utf8(stop); });
}

// Moves whole characters from partial_ + bytes to held_; what is not UTF-8 becomes U+FFFD, one for
// each maximal wrong part.
void Detokenizer::repair(std::string_view bytes, bool is_end) {
  partial_ += bytes;
  const std::string_view text = partial_;
  size_t pos = 0;
  while (pos < text.size()) {
    const Utf8Char c = decode_utf8(text, pos);
    if (c.valid) {
      held_.append(text, pos, c.n_bytes);
      pos += c.n_bytes;
      continue;
    }
    const size_t n_unfinished = incomplete_utf8(text, pos);
    if (n_unfinished > 0 && !is_end) break;
    append_utf8(held_, kReplacementChar);
    pos += wrong_utf8(text, pos);
  }
  partial_.erase(0, pos);
}

// Takes from held_ what no stop string can begin in any more.
Detokenizer::Piece Detokenizer::release(bool is_end) {
  size_t cut = std::string::npos;
  for (const std::string& stop : stops_) cut = std::min(cut, held_.find(stop));
  if (cut != std::string::npos) {
    stopped_ = true;
    Piece piece{held_.substr(0, cut), true};
    held_.clear();
    partial_.clear();
    return piece;
  }
  size_t keep = 0;
  if (!is_end) {
    for (const std::string& stop : stops_) {
      for (size_t n = std::min(stop.size() - 1, held_.size()); n > keep; --n) {
        if (std::string_view(held_).substr(held_.size() - n) ==
            std::string_view(stop).substr(0, n)) {
          keep = n;
          break;
        }
      }
    }
  }
  Piece piece{held_.substr(0, held_.size() - keep), false};
  held_.erase(0, held_.size() - keep);
  return piece;
}

Detokenizer::Piece Detokenizer::push(int32_t id, bool with_special) {
  if (stopped_) return {"", true};
  const std::string bytes = tokenizer_.token_bytes(id, with_special);
  std::string_view view = bytes;
  if (is_first_ && !view.empty()) {
    is_first_ = false;
    if (drop_first_space_ && view.front() == ' ') view.remove_prefix(1);
  }
  repair(view, false);
  return release(false);
}

std::string Detokenizer::flush() {
  std::string text;
  if (!stopped_) {
    repair({}, true);
    text = release(true).text;
  }
  partial_.clear();
  held_.clear();
  is_first_ = true;
  stopped_ = false;
  return text;
}

}  // namespace olx::engine
