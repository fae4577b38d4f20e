#pragma once
// CommandLine: the words after a command's name, parsed into flags and arguments with the error texts users of Ollama
// know. One object a command; it knows nothing of what the command does.

#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

namespace olx::cli {

// What went wrong, for `Error: ...` and exit code 1.
class CommandError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

class CommandLine {
 public:
  // command: "run"; usage: "MODEL [PROMPT]"; summary: one line.
  CommandLine(std::string command, std::string usage, std::string summary);
  ~CommandLine();

  // "--verbose" or "-v,--verbose". The referred variable must live until parse().
  void flag(const std::string& names, bool& set, const std::string& help);
  void value(const std::string& names, std::optional<std::string>& text, const std::string& help);
  // `--think` alone stores if_bare; a value must be joined with '='.
  void optional_value(const std::string& name, std::optional<std::string>& text, const std::string& if_bare,
                      const std::string& help);
  // At least / at most so many arguments; max < 0: any number.
  void arguments(int min, int max);

  // False when help was asked for and printed. Throws CommandError.
  bool parse(const std::vector<std::string>& words);
  const std::vector<std::string>& args() const { return args_; }

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
  std::vector<std::string> args_;
  int min_args_ = 0;
  int max_args_ = 0;
};

}  // namespace olx::cli
