// `pull` and `push`: the server does the work, this shows how far it is.
#include <boost/json.hpp>
#include <cstdio>
#include <filesystem>

#include "cli/commands.h"
#include "cli/terminal.h"
#include "server/wire.h"

namespace olx::cli {

namespace json = boost::json;

namespace {

void transfer(const Client& client, const std::string& path, const std::string& model, bool is_insecure) {
  ProgressLine progress;
  client.stream(path, json::object{{"model", model}, {"insecure", is_insecure}}, [&](const json::object& record) {
    const std::string status = text_of(record, "status");
    if (!status.empty()) progress.update(status, number_of(record, "completed"), number_of(record, "total"));
    return true;
  });
  progress.finish(true);
}

int pull_all(const Client& client, bool is_insecure) {
  int n_failed = 0;
  const json::value answer = client.get("/api/tags");
  for (const json::value& model : answer.at("models").as_array()) {
    const std::string name = text_of(model.as_object(), "name");
    std::fprintf(stderr, "%s\n", name.c_str());
    try {
      // One that was made here is not Ollama's of the same name, which would take its place.
      const json::value found = client.send("POST", "/api/pull", json::object{{"model", name}, {"insecure", is_insecure}, {"check", true}});
      if (const json::value* made_here = found.as_object().if_contains("made_here"); made_here != nullptr && made_here->is_bool() && made_here->as_bool()) {
        std::fprintf(stderr, "%s: not updated: it was made on this machine\n", name.c_str());
        continue;
      }
      transfer(client, "/api/pull", name, is_insecure);
    } catch (const ApiError& error) {
      // A model made here has no registry.
      std::fprintf(stderr, "%s: not updated: %s\n", name.c_str(), error.what());
      if (std::string_view(error.what()).find("file does not exist") == std::string_view::npos) ++n_failed;
    }
  }
  return n_failed == 0 ? 0 : 1;
}

}  // namespace

void pull_with_progress(const Client& client, const std::string& model, bool is_insecure) {
  transfer(client, "/api/pull", model, is_insecure);
}

bool is_gguf_file(const std::string& text) { return text.ends_with(".gguf") && std::filesystem::is_regular_file(text); }

std::optional<std::string> name_of_url(const std::string& text) {
  const std::string path = text.substr(0, text.find('?'));
  if ((!text.starts_with("https://") && !text.starts_with("http://")) || !path.ends_with(".gguf")) return std::nullopt;
  const auto name = server::name_for_file(path.substr(path.rfind('/') + 1));
  return name ? std::optional(name->model()) : std::nullopt;
}

int command_pull(const std::vector<std::string>& words) {
  bool insecure = false, all = false;
  CommandLine line("pull", "MODEL", "Pull a model from a registry");
  line.flag("--insecure", insecure, "Use an insecure registry");
  line.flag("--all", all, "Update every installed model that its registry still has");
  line.arguments(0, 1);
  if (!line.parse(words)) return 0;
  if (all != line.args().empty()) throw CommandError(all ? "--all takes no model" : "accepts 1 arg(s), received 0");
  const Session session = open_session();
  if (all) return pull_all(*session.client, insecure);
  const std::string& model = line.args()[0];
  if (is_gguf_file(model)) std::fprintf(stderr, "\nThe model's name is %s\n", create_from_file(session, model).c_str());
  else pull_with_progress(*session.client, model, insecure);
  if (const auto name = name_of_url(model)) std::fprintf(stderr, "\nThe model's name is %s\n", name->c_str());
  return 0;
}

int command_push(const std::vector<std::string>& words) {
  bool insecure = false;
  CommandLine line("push", "MODEL", "Push a model to a registry");
  line.flag("--insecure", insecure, "Use an insecure registry");
  line.arguments(1, 1);
  if (!line.parse(words)) return 0;
  const std::string& model = line.args()[0];
  const Session session = open_session();
  transfer(*session.client, "/api/push", model, insecure);
  std::fprintf(stderr, "\nYou can find your model at:\n\n\t%s\n", model.c_str());
  return 0;
}

}  // namespace olx::cli
