#pragma once
// Detokenizer: the token ids of one answer to text, as it is generated. Used by the scheduler, one
// per sequence, on one thread. It never emits half a UTF-8 character, and never a byte of a stop
// string; text that may yet become one is held back. Not for whole texts: that is
// Tokenizer::decode.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/text/tokenizer.h"

namespace olx::engine {

class Detokenizer {
 public:
  // text is well-formed UTF-8, possibly empty. stopped: a stop string was met; text ends before it,
  // nothing follows.
  struct Piece {
    std::string text;
    bool stopped = false;
  };

  // The tokenizer must outlive this. Stop strings that are empty or not UTF-8 are ignored.
  // drop_first_space: the answer starts a text of its own, so the space that SPM adds in front is
  // taken away (an answer that follows a prompt keeps its first space).
  Detokenizer(const Tokenizer& tokenizer, std::vector<std::string> stops, bool drop_first_space);

  // Adds one token; with_special: a control token is its spelling, not "". After a stop it returns
  // {"", true} for ever.
  Piece push(int32_t id, bool with_special = false);
  // Everything held back; an unfinished character becomes U+FFFD. Empty after a stop. The
  // Detokenizer then starts anew.
  std::string flush();

 private:
  void repair(std::string_view bytes, bool is_end);
  Piece release(bool is_end);

  const Tokenizer& tokenizer_;
  std::vector<std::string> stops_;
  bool drop_first_space_;
  bool is_first_ = true;
  bool stopped_ = false;
  std::string partial_;  // at most three bytes: a character that is not complete yet
  std::string held_;     // well-formed text that may be the start of a stop string
};

}  // namespace olx::engine
