#pragma once
// Every command is a function from its words to an exit code; commands.inc lists them. Errors are thrown and become
// `Error: ...` in main. Shared helpers of the command files are here too.

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cli/client.h"
#include "cli/command_line.h"

namespace olx::cli {

#define OLX_COMMAND(name, alias, usage, summary, function) int function(const std::vector<std::string>& words);
#include "cli/commands.inc"
#undef OLX_COMMAND

// A server started inside this process; it ends with the object.
class LocalServer {
 public:
  virtual ~LocalServer() = default;
  virtual HostAddress address() const = 0;
};
// On a free loopback port (serve.cpp).
std::unique_ptr<LocalServer> start_local_server();

// The server of OLLAMA_HOST when one answers; otherwise one inside this process, which lives as long as the Session.
struct Session {
  std::unique_ptr<LocalServer> local;
  std::unique_ptr<Client> client;
};
Session open_session();
// As above, but a server must be there already: CommandError otherwise.
Session open_remote_session();

// OLLAMA_HOST, as Ollama reads it.
HostAddress host_from_environment();

// POST /api/create with its progress shown on stderr.
void create_with_progress(const Client& client, const boost::json::object& request);

// A model of this GGUF file, or of all parts of a split one, named like it. Returns the name.
std::string create_from_file(const Session& session, const std::string& path);
bool is_gguf_file(const std::string& text);  // a path, that is, and not a model's name
// The name that a pull gives to the model of "https://host/path/file.gguf"; nullopt when the text is none of these.
std::optional<std::string> name_of_url(const std::string& text);
// The same for POST /api/pull (transfer.cpp).
void pull_with_progress(const Client& client, const std::string& model, bool is_insecure);

std::string text_of(const boost::json::object& object, std::string_view key);   // "" when absent
int64_t number_of(const boost::json::object& object, std::string_view key);     // 0 when absent

}  // namespace olx::cli
