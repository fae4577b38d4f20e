#pragma once
// LineEditor: a line of input with editing keys and history (libedit). Used by the REPL, on a terminal only.

#include <memory>
#include <optional>
#include <string>

namespace olx::cli {

class LineEditor {
 public:
  // history_path: "" keeps history in memory only.
  explicit LineEditor(const std::string& history_path);
  ~LineEditor();

  struct Line {
    std::string text;               // without the line end
    bool is_interrupted = false;    // Ctrl-C on an empty line
  };
  // nullopt at end of input (Ctrl-D on an empty line).
  std::optional<Line> read(const std::string& prompt);
  void add_history(const std::string& text);
  void set_history(bool is_on);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace olx::cli
