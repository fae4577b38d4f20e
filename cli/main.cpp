// ollamax: finds the command among the rows of commands.inc and runs it. One of the three places that catch errors.
#include <csignal>
#include <cstdio>
#include <exception>
#include <string>
#include <vector>

#include "cli/commands.h"
#include "cli/version.h"
#include "server/worker/worker_main.h"

namespace {

using namespace olx::cli;

struct CommandRow {
  const char* name;
  const char* alias;
  const char* usage;
  const char* summary;
  int (*run)(const std::vector<std::string>& words);
};

constexpr CommandRow kCommands[] = {
#define OLX_COMMAND(name, alias, usage, summary, function) {#name, alias, usage, summary, function},
#include "cli/commands.inc"
#undef OLX_COMMAND
};

void print_help() {
  std::puts("Large language model runner\n\nUsage:\n  ollamax [flags]\n  ollamax [command]\n\nAvailable Commands:");
  for (const CommandRow& row : kCommands) std::printf("  %-11s %s\n", row.name, row.summary);
  std::puts("  help        Help about any command\n\nFlags:\n  -h, --help      help for ollamax\n"
            "  -v, --version   Show version information\n\n"
            "Use \"ollamax [command] --help\" for more information about a command.");
}

int print_version() {
  std::string server;
  try {
    const Client client(host_from_environment());
    if (client.is_up()) server = text_of(client.get("/api/version").as_object(), "ollamax");
  } catch (const std::exception&) {  // no server: said below
  }
  if (server.empty()) std::puts("Warning: could not connect to a running ollamax instance");
  else std::printf("ollamax version is %s\n", server.c_str());
  if (server != kVersion) std::printf("Warning: client version is %s\n", kVersion);
  return 0;
}

const CommandRow* find_command(const std::string& name) {
  for (const CommandRow& row : kCommands)
    if (name == row.name || (row.alias[0] != '\0' && name == row.alias)) return &row;
  return nullptr;
}

int run(const std::vector<std::string>& words) {
  if (words.empty() || words[0] == "--help" || words[0] == "-h") return print_help(), 0;
  if (words[0] == "--version" || words[0] == "-v") return print_version();
  if (words[0] == "worker") return olx::server::run_worker(words);  // not for people: not in the table
  std::vector<std::string> rest(words.begin() + 1, words.end());
  const bool is_help = words[0] == "help";
  if (is_help && rest.empty()) return print_help(), 0;
  const std::string& name = is_help ? rest[0] : words[0];
  const CommandRow* row = find_command(name);
  if (row == nullptr) {
    if (name.starts_with("--")) throw CommandError("unknown flag: " + name);
    throw CommandError("unknown command \"" + name + "\" for \"ollamax\"");
  }
  return row->run(is_help ? std::vector<std::string>{"--help"} : rest);
}

}  // namespace

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  try {
    return run(std::vector<std::string>(argv + 1, argv + argc));
  } catch (const Interrupted&) {
    return 1;
  } catch (const std::exception& error) {
    std::fflush(stdout);
    std::fprintf(stderr, "Error: %s\n", error.what());
    return 1;
  }
}
