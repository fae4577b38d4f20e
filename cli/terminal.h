#pragma once
// What the terminal is, and the two things that move on it: a progress line and wrapped text. Nothing here writes an
// escape code to something that is not a terminal.

#include <cstdint>
#include <string>
#include <string_view>

namespace olx::cli {

bool is_terminal(int fd);
int terminal_columns(int fd);  // 80 when unknown

// One line on stderr that says what is going on: a spinner, or a bar when a total is known. On something that is not a
// terminal each new status is printed once as a plain line.
class ProgressLine {
 public:
  ProgressLine();
  ~ProgressLine();
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;
  void update(std::string_view status, int64_t completed_bytes = 0, int64_t total_bytes = 0);
  // Leaves the last status on the screen (keep) or wipes it.
  void finish(bool keep);

 private:
  void draw();
  bool is_terminal_;
  bool is_drawn_ = false;
  std::string status_;
  int64_t completed_bytes_ = 0;
  int64_t total_bytes_ = 0;
  int64_t started_bytes_ = 0;
  int64_t started_ms_ = 0;
  int64_t drawn_ms_ = 0;
  int frame_ = 0;
};

// Writes streamed text to stdout, moving a word that does not fit to the next line. Off when stdout is no terminal.
class WordWrapper {
 public:
  explicit WordWrapper(bool is_on);
  void write(std::string_view text);

 private:
  void put(std::string_view character);
  bool is_on_;
  int columns_ = 80;
  int column_ = 0;
  std::string word_;
  int word_width_ = 0;
};

}  // namespace olx::cli
