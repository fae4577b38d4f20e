// The short commands on installed and running models: list, ps, cp, rm, stop.
#include <algorithm>
#include <boost/json.hpp>
#include <cmath>
#include <cstdio>
#include <ctime>

#include "cli/commands.h"
#include "cli/format.h"
#include "gguf/ascii.h"

namespace olx::cli {
namespace {

namespace json = boost::json;

bool has_prefix_ignoring_case(std::string_view text, std::string_view prefix) {
  return ascii::equal_ignoring_case(text.substr(0, prefix.size()), prefix);
}

// The models of a listing whose names begin with the argument, if there is one.
std::vector<json::object> matching_models(const Client& client, const std::string& path,
                                          const std::vector<std::string>& args) {
  std::vector<json::object> models;
  const json::value answer = client.get(path);
  for (const json::value& model : answer.at("models").as_array())
    if (args.empty() || has_prefix_ignoring_case(text_of(model.as_object(), "name"), args[0]))
      models.push_back(model.as_object());
  return models;
}

bool is_stale(const Client& client, const std::string& name, bool is_insecure) {
  try {
    const json::value answer = client.send("POST", "/api/pull", json::object{{"model", name}, {"insecure", is_insecure}, {"check", true}});
    const json::value* stale = answer.as_object().if_contains("stale");
    return stale != nullptr && stale->is_bool() && stale->as_bool();
  } catch (const ApiError& error) {
    std::fprintf(stderr, "%s: not known: %s\n", name.c_str(), error.what());
    return false;
  }
}

std::string processor_text(int64_t size_bytes, int64_t vram_bytes) {
  if (vram_bytes == 0) return "100% CPU";
  if (vram_bytes == size_bytes) return "100% GPU";
  if (vram_bytes > size_bytes || size_bytes == 0) return "Unknown";
  const double cpu = static_cast<double>(size_bytes - vram_bytes) / static_cast<double>(size_bytes) * 100;
  const auto cpu_percent = static_cast<int>(std::lround(cpu));
  return std::to_string(cpu_percent) + "%/" + std::to_string(100 - cpu_percent) + "% CPU/GPU";
}

}  // namespace

int command_list(const std::vector<std::string>& words) {
  bool stale = false, insecure = false;
  CommandLine line("list", "[PREFIX]", "List models");
  line.flag("--stale", stale, "Only those of which the registry has another version");
  line.flag("--insecure", insecure, "With --stale: use an insecure registry");
  line.arguments(0, -1);
  if (!line.parse(words)) return 0;
  const Session session = open_session();
  std::vector<std::vector<std::string>> rows;
  for (const json::object& model : matching_models(*session.client, "/api/tags", line.args())) {
    if (stale && !is_stale(*session.client, text_of(model, "name"), insecure)) continue;
    rows.push_back({text_of(model, "name"), text_of(model, "digest").substr(0, 12), human_bytes(number_of(model, "size")),
                    human_time(text_of(model, "modified_at"), std::time(nullptr))});
  }
  std::fputs(table({"NAME", "ID", "SIZE", "MODIFIED"}, rows).c_str(), stdout);
  return 0;
}

int command_ps(const std::vector<std::string>& words) {
  CommandLine line("ps", "[PREFIX]", "List running models");
  line.arguments(0, -1);
  if (!line.parse(words)) return 0;
  const Session session = open_remote_session();
  std::vector<std::vector<std::string>> rows;
  for (const json::object& model : matching_models(*session.client, "/api/ps", line.args())) {
    const std::string until = human_time(text_of(model, "expires_at"), std::time(nullptr));
    rows.push_back({text_of(model, "name"), text_of(model, "digest").substr(0, 12), human_bytes(number_of(model, "size")),
                    processor_text(number_of(model, "size"), number_of(model, "size_vram")),
                    std::to_string(number_of(model, "context_length")),
                    until.ends_with(" ago") ? "Stopping..." : until});
  }
  std::fputs(table({"NAME", "ID", "SIZE", "PROCESSOR", "CONTEXT", "UNTIL"}, rows).c_str(), stdout);
  return 0;
}

int command_cp(const std::vector<std::string>& words) {
  CommandLine line("cp", "SOURCE DESTINATION", "Copy a model");
  line.arguments(2, 2);
  if (!line.parse(words)) return 0;
  const Session session = open_session();
  session.client->send("POST", "/api/copy", json::object{{"source", line.args()[0]}, {"destination", line.args()[1]}});
  std::printf("copied '%s' to '%s'\n", line.args()[0].c_str(), line.args()[1].c_str());
  return 0;
}

int command_rm(const std::vector<std::string>& words) {
  CommandLine line("rm", "MODEL [MODEL...]", "Remove a model");
  line.arguments(1, -1);
  if (!line.parse(words)) return 0;
  const Session session = open_session();
  for (const std::string& name : line.args()) {
    try {
      session.client->send("POST", "/api/generate", json::object{{"model", name}, {"keep_alive", 0}, {"stream", false}});
    } catch (const ApiError& error) {
      if (error.status() != 404) std::fprintf(stderr, "Warning: unable to stop model '%s'\n", name.c_str());
    }
    session.client->send("DELETE", "/api/delete", json::object{{"model", name}});
    std::printf("deleted '%s'\n", name.c_str());
  }
  return 0;
}

int command_stop(const std::vector<std::string>& words) {
  CommandLine line("stop", "MODEL", "Stop a running model");
  line.arguments(1, 1);
  if (!line.parse(words)) return 0;
  const Session session = open_remote_session();
  try {
    session.client->send("POST", "/api/generate",
                         json::object{{"model", line.args()[0]}, {"keep_alive", 0}, {"stream", false}});
  } catch (const ApiError& error) {
    if (error.status() == 404) throw CommandError("couldn't find model \"" + line.args()[0] + "\" to stop");
    throw;
  }
  return 0;
}

}  // namespace olx::cli
