// `run`: one answer to a prompt (from arguments and standard input), or a chat.
#include <unistd.h>

#include <boost/json.hpp>
#include <cstdio>
#include <iostream>
#include <iterator>
#include <optional>

#include "cli/answer.h"
#include "cli/chat.h"
#include "cli/commands.h"
#include "cli/terminal.h"
#include "server/wire.h"

namespace olx::cli {
namespace {

namespace json = boost::json;

// --think: true, false or a level.
json::value think_value(const std::string& text) {
  if (text == "true") return true;
  if (text == "false") return false;
  if (text == "high" || text == "medium" || text == "low" || text == "max") return json::string(text);
  throw CommandError("invalid value for --think: \"" + text + "\" (must be true, false, high, medium, low, or max)");
}

std::string read_standard_input() {
  return std::string(std::istreambuf_iterator<char>(std::cin), std::istreambuf_iterator<char>());
}

}  // namespace

bool has_capability(const json::object& shown, std::string_view name) {
  const json::value* list = shown.if_contains("capabilities");
  if (list == nullptr || !list->is_array()) return false;
  for (const json::value& capability : list->as_array())
    if (capability.is_string() && capability.as_string() == name) return true;
  return false;
}

void load_with_progress(const Client& client, const ChatOptions& options) {
  json::object request{{"model", options.model}};
  if (!options.keep_alive.is_null()) request["keep_alive"] = options.keep_alive;
  if (!options.parameters.empty()) request["options"] = options.parameters;
  if (is_terminal(STDERR_FILENO)) {
    // The request says nothing until the model is loaded; the spinner tells that something is happening.
    ProgressLine progress;
    progress.update("loading " + options.model);
    client.send("POST", "/api/generate", request);
    progress.finish(false);
  } else {
    client.send("POST", "/api/generate", request);
  }
}

int command_run(const std::vector<std::string>& words) {
  ChatOptions options;
  std::optional<std::string> keep_alive, format, think, draft;
  bool no_word_wrap = false, insecure = false;
  CommandLine line("run", "MODEL [PROMPT]", "Run a model");
  line.value("--keepalive", keep_alive, "Duration to keep a model loaded (e.g. 5m)");
  line.value("--draft", draft, "Smaller model with the same vocabulary that drafts for this one");
  line.flag("--verbose", options.is_verbose, "Show timings for response");
  line.flag("--insecure", insecure, "Use an insecure registry");
  line.flag("--nowordwrap", no_word_wrap, "Don't wrap words to the next line automatically");
  line.value("--format", format, "Response format (e.g. json)");
  line.optional_value("--think", think, "true", "Enable thinking mode: true/false or high/medium/low");
  line.flag("--hidethinking", options.is_thinking_hidden, "Hide thinking output (if provided)");
  line.arguments(1, -1);
  if (!line.parse(words)) return 0;

  options.model = line.args()[0];
  if (draft) options.parameters["draft"] = *draft;
  options.is_wrapped = !no_word_wrap;
  if (think) options.think = think_value(*think);
  if (keep_alive) {
    int64_t nanoseconds = 0;
    if (const std::string error = server::parse_go_duration(*keep_alive, nanoseconds); !error.empty()) throw CommandError(error);
    options.keep_alive = json::string(*keep_alive);
  }
  if (format) {
    // A schema, or a word that the server knows or refuses.
    json::error_code not_json;
    options.format = json::parse(*format, not_json);
    if (not_json) options.format = *format;
  }

  std::string prompt;
  for (size_t i = 1; i < line.args().size(); ++i) prompt += (i > 1 ? " " : "") + line.args()[i];
  if (!is_terminal(STDIN_FILENO)) {
    const std::string input = read_standard_input();
    if (!input.empty()) prompt = input + (prompt.empty() ? "" : " ") + prompt;
  }
  const bool is_interactive = line.args().size() == 1 && prompt.empty() && is_terminal(STDIN_FILENO) && is_terminal(STDOUT_FILENO);

  const Session session = open_session();
  if (is_gguf_file(options.model)) options.model = create_from_file(session, options.model);
  const std::string source = options.model;
  if (const auto name = name_of_url(source)) options.model = *name;
  const auto show = [&] { return session.client->send("POST", "/api/show", json::object{{"model", options.model}}).as_object(); };
  json::object shown;
  try {
    shown = show();
  } catch (const ApiError& error) {
    if (error.status() != 404) throw;
    pull_with_progress(*session.client, source, insecure);  // not here yet
    shown = show();
  }
  if (options.think.is_null() && has_capability(shown, "thinking")) options.think = true;
  if (is_interactive) return run_chat(*session.client, options, shown);

  if (prompt.empty()) {
    load_with_progress(*session.client, options);
    return 0;
  }
  json::object request{{"model", options.model}, {"prompt", prompt}};
  if (!options.keep_alive.is_null()) request["keep_alive"] = options.keep_alive;
  if (!options.format.is_null()) request["format"] = options.format;
  if (!options.think.is_null()) request["think"] = options.think;
  if (!options.parameters.empty()) request["options"] = options.parameters;
  AnswerPrinter printer(options.is_wrapped, options.is_thinking_hidden);
  const InterruptGuard guard;
  // One request loads the model and asks it, so that the time of loading is in its figures.
  std::optional<ProgressLine> progress;
  if (is_terminal(STDERR_FILENO)) progress.emplace().update("loading " + options.model);
  session.client->stream("/api/generate", request, [&](const json::object& record) {
    progress.reset();
    printer.print(record);
    return true;
  });
  printer.finish(options.is_verbose);
  return 0;
}

}  // namespace olx::cli
