#pragma once
// Prints one streamed answer: thinking, text, tool calls, statistics. Shared by `run PROMPT` and the REPL.

#include <boost/json/object.hpp>
#include <string>

#include "cli/terminal.h"

namespace olx::cli {

class AnswerPrinter {
 public:
  AnswerPrinter(bool is_wrapped, bool is_thinking_hidden);
  // A record of /api/generate ("response", "thinking") or /api/chat ("message").
  void print(const boost::json::object& record);
  // The blank line after an answer; then statistics on stderr when asked.
  void finish(bool is_verbose);

  const std::string& text() const { return text_; }
  const std::string& thinking() const { return thinking_; }

 private:
  WordWrapper wrapper_;
  bool is_thinking_hidden_;
  bool is_in_thinking_ = false;
  bool has_printed_ = false;
  std::string text_;
  std::string thinking_;
  boost::json::object last_;
};

// While one of these lives, Ctrl-C ends the running request (Client::interrupt) and not the program.
class InterruptGuard {
 public:
  InterruptGuard();
  ~InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;
};

}  // namespace olx::cli
