#include "cli/chat.h"

#include <sys/stat.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>

#include "cli/answer.h"
#include "cli/chat_help.h"
#include "cli/commands.h"
#include "cli/line_editor.h"
#include "cli/show.h"
#include "cli/terminal.h"
#include "server/wire.h"

namespace olx::cli {
namespace {

namespace json = boost::json;

// OLLAMA_NOHISTORY, a switch as Go's ParseBool reads it; other text counts as on.
bool is_history_off() {
  const char* set = std::getenv("OLLAMA_NOHISTORY");
  const std::string text = set == nullptr ? "" : set;
  for (const char* no : {"", "0", "f", "F", "false", "FALSE", "False"})
    if (text == no) return false;
  return true;
}

std::string history_path() {
  const char* home = std::getenv("HOME");
  if (home == nullptr || is_history_off()) return "";
  const std::filesystem::path folder = std::filesystem::path(home) / ".ollama";
  std::error_code ignored;
  std::filesystem::create_directories(folder, ignored);
  return (folder / "history").string();
}

std::vector<std::string> split_words(const std::string& text) {
  std::istringstream words(text);
  std::vector<std::string> out;
  for (std::string word; words >> word;) out.push_back(word);
  return out;
}

// What PARAMETER lines of a Modelfile with these values would give. ModelfileError: an unknown
// name, a value of another type.
json::value parameter_value(const std::string& name, const std::vector<std::string>& values) {
  if (name == "draft") return json::value(values[0]);  // an option of requests, and of no Modelfile
  server::Modelfile lines;
  for (const std::string& value : values)
    if (lines.empty() || name == "stop")
      lines.push_back({"parameter", name, value});  // others have one value
  const server::CreateFields fields = server::create_fields(lines);
  for (const std::string& warning : fields.warnings) std::puts(warning.c_str());
  const json::value* parameters = fields.body.if_contains("parameters");
  return parameters == nullptr ? json::value() : parameters->at(name);  // null: one that has gone
}

class Chat {
 public:
  Chat(const Client& client, ChatOptions options, const json::object& shown)
      : client_(client), options_(std::move(options)), shown_(shown), editor_(history_path()) {}

  int run();

 private:
  enum class Next { kContinue, kLeave };

  void take_stored_messages();
  void set_system(const std::string& text);
  Next on_command(const std::string& line);
  void on_set(const std::vector<std::string>& words, const std::string& line);
  void on_show(const std::vector<std::string>& words);
  void on_save(const std::vector<std::string>& words);
  void on_load(const std::vector<std::string>& words);
  void ask(const std::string& text);
  std::optional<std::string> read_until_quotes(std::string text);

  const Client& client_;
  ChatOptions options_;
  json::object shown_;
  LineEditor editor_;
  json::array messages_;
  std::string system_;
};

void Chat::take_stored_messages() {
  const json::value* stored = shown_.if_contains("messages");
  if (stored == nullptr || !stored->is_array()) return;
  for (const json::value& message : stored->as_array()) {
    const std::string role = text_of(message.as_object(), "role"), content = text_of(message.as_object(), "content");
    if (role == "user") std::printf(">>> %s\n", content.c_str());
    if (role == "assistant") std::printf("%s\n\n", content.c_str());
    messages_.push_back(message);
  }
}

void Chat::set_system(const std::string& text) {
  system_ = text;
  const json::object message{{"role", "system"}, {"content", text}};
  if (!messages_.empty() && messages_.back().as_object().at("role") == "system") messages_.back() = message;
  else messages_.push_back(message);
}

// Reads on until a line ends in """; the text so far begins after the opening quotes.
std::optional<std::string> Chat::read_until_quotes(std::string text) {
  while (!text.ends_with("\"\"\"")) {
    const auto line = editor_.read("... ");
    if (!line || line->is_interrupted) return std::nullopt;
    text += "\n" + line->text;
  }
  text.resize(text.size() - 3);
  return text;
}

int Chat::run() {
  // For the whole chat: a Ctrl-C that comes just after an answer must not end the program either.
  const InterruptGuard guard;
  load_with_progress(client_, options_);
  take_stored_messages();
  while (true) {
    const auto line = editor_.read(">>> ");
    Client::forget_interrupt();
    if (!line) {
      std::putchar('\n');
      return 0;
    }
    if (line->is_interrupted) {
      if (line->text.empty()) std::puts("\nUse Ctrl + d or /bye to exit.");
      continue;
    }
    if (line->text.find_first_not_of(" \t") == std::string::npos) continue;
    editor_.add_history(line->text);
    if (line->text.starts_with("\"\"\"")) {
      if (const auto text = read_until_quotes(line->text.substr(3))) ask(*text);
      continue;
    }
    if (line->text[0] == '/' && !std::filesystem::exists(line->text)) {
      if (on_command(line->text) == Next::kLeave) return 0;
      continue;
    }
    ask(line->text);
  }
}

Chat::Next Chat::on_command(const std::string& line) {
  const std::vector<std::string> words = split_words(line);
  const std::string& name = words[0];
  try {
    if (name.starts_with("/bye") || name.starts_with("/exit")) return Next::kLeave;
    if (name == "/?" || name == "/help") {
      std::fputs(chat_help(words.size() > 1 ? words[1] : "").c_str(), stderr);
    } else if (name == "/clear") {
      messages_.clear();
      if (!system_.empty()) set_system(system_);
      std::puts("Cleared session context");
    } else if (name == "/list") {
      command_list({});
    } else if (name == "/set") {
      on_set(words, line);
    } else if (name == "/show") {
      on_show(words);
    } else if (name == "/save") {
      on_save(words);
    } else if (name == "/load") {
      on_load(words);
    } else {
      std::printf("Unknown command '%s'. Type /? for help\n", name.c_str());
    }
  } catch (const ApiError& error) {
    std::printf("error: %s\n", error.what());
  }
  return Next::kContinue;
}

void Chat::on_set(const std::vector<std::string>& words, const std::string& line) {
  const std::string what = words.size() > 1 ? words[1] : "";
  const bool has_argument = words.size() > 2;
  if (what == "parameter" && words.size() > 3) {
    const std::vector<std::string> values(words.begin() + 3, words.end());
    try {
      const json::value value = parameter_value(words[2], values);
      if (!value.is_null()) options_.parameters[words[2]] = value;
    } catch (const server::ModelfileError& error) {
      std::printf("Couldn't set parameter: \"%s\"\n", error.what());
      return;
    }
    std::string shown_value;
    for (const std::string& value : values)
      shown_value += (shown_value.empty() ? "" : ", ") + value;
    std::printf("Set parameter '%s' to '%s'\n", words[2].c_str(), shown_value.c_str());
  } else if (what == "system" && has_argument) {
    std::string text = line.substr(line.find("system") + 6);
    text.erase(0, text.find_first_not_of(" \t"));
    if (text.starts_with("\"\"\"")) {
      const auto whole = read_until_quotes(text.substr(3));
      if (!whole) return;
      text = *whole;
    } else if (text.size() >= 2 && text.front() == '"' && text.back() == '"') {
      text = text.substr(1, text.size() - 2);
    }
    set_system(text);
    std::puts("Set system message.");
  } else if (what == "history" || what == "nohistory") {
    editor_.set_history(what == "history");
  } else if (what == "wordwrap" || what == "nowordwrap") {
    options_.is_wrapped = what == "wordwrap";
    std::printf("Set '%s' mode.\n", what.c_str());
  } else if (what == "verbose" || what == "quiet") {
    options_.is_verbose = what == "verbose";
    std::printf("Set '%s' mode.\n", what.c_str());
  } else if (what == "format" && has_argument && words[2] == "json") {
    options_.format = "json";
    std::puts("Set format to 'json' mode.");
  } else if (what == "format") {
    std::puts("Invalid or missing format. For 'json' mode use '/set format json'");
  } else if (what == "noformat") {
    options_.format = nullptr;
    std::puts("Disabled format.");
  } else if (what == "think") {
    if (!has_capability(shown_, "thinking"))
      std::fprintf(stderr, "warning: model \"%s\" does not support thinking output\n",
                   options_.model.c_str());
    options_.think = has_argument ? json::value(words[2]) : json::value(true);
    if (has_argument) std::printf("Set 'think' mode to '%s'.\n", words[2].c_str());
    else std::puts("Set 'think' mode.");
  } else if (what == "nothink") {
    options_.think = false;
    std::puts("Set 'nothink' mode.");
  } else if (what.empty() || what == "parameter" || what == "system") {
    std::fputs(chat_help("set").c_str(), stderr);
  } else {
    std::printf("Unknown command '/set %s'. Type /? for help\n", what.c_str());
  }
}

void Chat::on_show(const std::vector<std::string>& words) {
  const std::string what = words.size() > 1 ? words[1] : "";
  const json::object answer = client_.send("POST", "/api/show", json::object{{"model", options_.model}}).as_object();
  const auto print_or = [&](const char* key, const char* missing) {
    const std::string text = text_of(answer, key);
    std::puts(text.empty() ? missing : text.c_str());
  };
  if (what == "info") {
    std::fputs(show_info_text(answer, false).c_str(), stdout);
  } else if (what == "license") {
    print_or("license", "No license was specified for this model.");
  } else if (what == "modelfile") {
    std::puts(text_of(answer, "modelfile").c_str());
  } else if (what == "parameters") {
    const std::string defined = text_of(answer, "parameters");
    if (defined.empty()) std::puts("  No additional parameters were specified for this model.");
    else std::printf("Model defined parameters:\n%s\n", defined.c_str());
    if (!options_.parameters.empty()) {
      std::puts("User defined parameters:");
      for (const auto& [key, value] : options_.parameters)
        std::printf("  %-*s %s\n", 30, std::string(key).c_str(), json::serialize(value).c_str());
      std::putchar('\n');
    }
  } else if (what == "system") {
    if (!system_.empty()) std::printf("%s\n", system_.c_str());
    else print_or("system", "No system message was specified for this model.");
  } else if (what == "template") {
    print_or("template", "No prompt template was specified for this model.");
  } else {
    std::fputs(chat_help("show").c_str(), stderr);
  }
}

void Chat::on_save(const std::vector<std::string>& words) {
  if (words.size() != 2) {
    std::puts("Usage:\n  /save <modelname>");
    return;
  }
  json::object request{{"model", words[1]}, {"from", options_.model}};
  if (!system_.empty()) request["system"] = system_;
  if (!options_.parameters.empty()) request["parameters"] = options_.parameters;
  json::array kept;
  for (const json::value& message : messages_)
    if (message.at("role") != "system") kept.push_back(message);
  if (!kept.empty()) request["messages"] = kept;
  try {
    client_.stream("/api/create", request, [](const json::object&) { return true; });
    std::printf("Created new model '%s'\n", words[1].c_str());
  } catch (const ApiError& error) {
    if (std::string(error.what()).find("invalid model name") == std::string::npos) throw;
    std::printf("error: The model name '%s' is invalid\n", words[1].c_str());
  }
}

void Chat::on_load(const std::vector<std::string>& words) {
  if (words.size() != 2) {
    std::puts("Usage:\n  /load <modelname>");
    return;
  }
  std::printf("Loading model '%s'\n", words[1].c_str());
  ChatOptions next = options_;
  next.model = words[1];
  try {
    shown_ = client_.send("POST", "/api/show", json::object{{"model", next.model}}).as_object();
    load_with_progress(client_, next);
  } catch (const ApiError& error) {
    if (error.status() != 404) throw;
    std::printf("Couldn't find model '%s'\n", words[1].c_str());
    return;
  }
  options_ = next;
  messages_.clear();
  if (!system_.empty()) set_system(system_);
  take_stored_messages();
}

void Chat::ask(const std::string& text) {
  messages_.push_back(json::object{{"role", "user"}, {"content", text}});
  json::object request{{"model", options_.model}, {"messages", messages_}};
  if (!options_.keep_alive.is_null()) request["keep_alive"] = options_.keep_alive;
  if (!options_.format.is_null()) request["format"] = options_.format;
  if (!options_.think.is_null()) request["think"] = options_.think;
  if (!options_.parameters.empty()) request["options"] = options_.parameters;
  AnswerPrinter printer(options_.is_wrapped, options_.is_thinking_hidden);
  try {
    client_.stream("/api/chat", request, [&](const json::object& record) {
      printer.print(record);
      return true;
    });
  } catch (const Interrupted&) {
    // The half answer is forgotten and so is its question, as if it had not been asked.
    messages_.pop_back();
    std::puts("\n");
    return;
  } catch (const ApiError& error) {
    messages_.pop_back();
    std::printf("error: %s\n", error.what());
    return;
  }
  printer.finish(options_.is_verbose);
  json::object answer{{"role", "assistant"}, {"content", printer.text()}};
  if (!printer.thinking().empty()) answer["thinking"] = printer.thinking();
  messages_.push_back(answer);
}

}  // namespace

int run_chat(const Client& client, ChatOptions options, const json::object& shown) {
  return Chat(client, std::move(options), shown).run();
}

}  // namespace olx::cli
