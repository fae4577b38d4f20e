#include "cli/command_line.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>

namespace olx::cli {

struct CommandLine::Impl {
  CLI::App app;
  std::string command;
  std::string usage;
};

CommandLine::CommandLine(std::string command, std::string usage, std::string summary) : impl_(std::make_unique<Impl>()) {
  impl_->app.description(summary);
  impl_->app.name("ollamax " + command);
  impl_->app.allow_extras();
  impl_->command = std::move(command);
  impl_->usage = std::move(usage);
}
CommandLine::~CommandLine() = default;

void CommandLine::flag(const std::string& names, bool& set, const std::string& help) {
  impl_->app.add_flag(names, set, help);
}

void CommandLine::value(const std::string& names, std::optional<std::string>& text, const std::string& help) {
  impl_->app.add_option_function<std::string>(names, [&text](const std::string& value) { text = value; }, help);
}

void CommandLine::optional_value(const std::string& name, std::optional<std::string>& text, const std::string& if_bare,
                                 const std::string& help) {
  // A CLI11 flag takes a value only when it is joined with '='.
  impl_->app.add_flag(name + "{" + if_bare + "}", help)->each([&text](const std::string& value) { text = value; });
}

void CommandLine::arguments(int min, int max) {
  min_args_ = min;
  max_args_ = max;
}

bool CommandLine::parse(const std::vector<std::string>& words) {
  std::vector<std::string> reversed(words.rbegin(), words.rend());  // CLI11 takes them last first
  try {
    impl_->app.parse(reversed);
  } catch (const CLI::CallForHelp&) {
    // CLI11 begins with a usage line that does not know our arguments: ours replaces it.
    std::string text = impl_->app.help();
    const size_t options = text.find("Options:");
    text.erase(0, options == std::string::npos ? text.size() : options);
    std::printf("%s\n\nUsage:\n  ollamax %s%s%s [flags]\n\n%s", impl_->app.get_description().c_str(),
                impl_->command.c_str(), impl_->usage.empty() ? "" : " ", impl_->usage.c_str(), text.c_str());
    return false;
  } catch (const CLI::ArgumentMismatch& error) {
    throw CommandError("flag needs an argument: " + std::string(error.what()));
  } catch (const CLI::ParseError& error) {
    throw CommandError(error.what());
  }
  for (const std::string& word : impl_->app.remaining()) {
    if (word.size() > 1 && word[0] == '-' && word != "--") {
      const auto after_dashdash = std::find(words.begin(), words.end(), "--");
      if (std::find(after_dashdash, words.end(), word) == words.end())
        throw CommandError(word.starts_with("--") ? "unknown flag: " + word.substr(0, word.find('='))
                                                  : "unknown shorthand flag: '" + word.substr(1, 1) + "' in " + word);
    }
    if (word != "--") args_.push_back(word);
  }
  const int n = static_cast<int>(args_.size());
  if (max_args_ >= 0 && min_args_ == max_args_ && n != min_args_)
    throw CommandError("accepts " + std::to_string(min_args_) + " arg(s), received " + std::to_string(n));
  if (n < min_args_)
    throw CommandError("requires at least " + std::to_string(min_args_) + " arg(s), only received " + std::to_string(n));
  if (max_args_ >= 0 && n > max_args_)
    throw CommandError("accepts at most " + std::to_string(max_args_) + " arg(s), received " + std::to_string(n));
  return true;
}

}  // namespace olx::cli
