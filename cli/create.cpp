// `create`: reads a Modelfile, uploads the files it names, and asks the server to make the model.
#include <algorithm>
#include <boost/json.hpp>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "cli/commands.h"
#include "cli/terminal.h"
#include "gguf/split.h"
#include "server/server.h"
#include "server/wire.h"

namespace olx::cli {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;

constexpr uintmax_t kMaxModelfileBytes = 16u << 20;

std::string read_modelfile(const fs::path& path) {
  std::error_code failed;
  const uintmax_t size_bytes = fs::file_size(path, failed);
  if (failed) throw CommandError(path.string() + ": " + failed.message());
  if (size_bytes > kMaxModelfileBytes) throw CommandError(path.string() + ": a Modelfile has at most 16 MiB");
  std::ifstream in(path, std::ios::binary);
  if (!in) throw CommandError(path.string() + ": cannot be read");
  return std::string(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
}

// Where a FROM or ADAPTER argument points, relative to the Modelfile; empty when it is no path.
fs::path path_of(const std::string& argument, const fs::path& folder) {
  fs::path path = argument;
  if (argument.starts_with("~/"))
    if (const char* home = std::getenv("HOME")) path = fs::path(home) / argument.substr(2);
  if (path.is_relative()) path = folder / path;
  std::error_code ignored;
  return fs::exists(path, ignored) ? path : fs::path();
}

// The files that a FROM means: a folder's, all parts of a split model, or the one.
std::vector<fs::path> model_files(const fs::path& path) {
  if (const auto split = gguf::parse_split_name(path.string()); split && !fs::is_directory(path)) {
    std::vector<fs::path> parts;
    for (uint64_t number = 1; number <= split->n_parts; ++number) {
      parts.emplace_back(split->file_name(number));
      if (!fs::exists(parts.back())) throw CommandError(parts.back().string() + ": no such file; a split model needs all of its parts");
    }
    return parts;
  }
  if (!fs::is_directory(path)) return {path};
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(path))
    if (entry.is_regular_file() && entry.path().extension() == ".gguf") files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  if (files.empty()) throw CommandError(path.string() + ": no Modelfile or GGUF files found");
  return files;
}

// The digest of a file the server has afterwards.
std::string upload(const Session& session, const fs::path& path, ProgressLine& progress) {
  const Client& client = *session.client;
  const auto size_bytes = static_cast<int64_t>(fs::file_size(path));
  const std::string digest = server::sha256_of_file(path.string(), [&](uint64_t hashed) {
                               progress.update("hashing " + path.filename().string(), static_cast<int64_t>(hashed), size_bytes);
                             }).text();
  const auto on_progress = [&](uint64_t sent) { progress.update("copying file " + digest, static_cast<int64_t>(sent), size_bytes); };
  if (client.has_blob(digest)) return digest;
  // A server inside this process has the same disk: what the disk can share need not be copied.
  if (session.local) {
    const auto options = server::ServerOptions::from_environment();
    if (server::import_file(options.models_dir, options.spare_disk_bytes, path.string(), on_progress).text() != digest)
      throw CommandError(path.string() + ": the file changed while it was read");
  } else {
    client.upload_blob(digest, path.string(), on_progress);
  }
  return digest;
}

json::object create_request(const Session& session, const server::Modelfile& modelfile, const fs::path& folder, ProgressLine& progress) {
  server::CreateFields fields = server::create_fields(modelfile);
  for (const std::string& warning : fields.warnings) std::fprintf(stderr, "%s\n", warning.c_str());
  json::object request = std::move(fields.body);
  json::object files, adapters;
  for (const std::string& from : fields.from) {
    const fs::path path = path_of(from, folder);
    if (path.empty()) {
      if (from.ends_with(".gguf") || from.starts_with("/") || from.starts_with("./")) throw CommandError(from + ": no such file");
      request["from"] = from;
    } else {
      for (const fs::path& file : model_files(path)) files[file.filename().string()] = upload(session, file, progress);
    }
  }
  if (!fields.adapter.empty()) {
    const fs::path path = path_of(fields.adapter, folder);
    if (path.empty()) throw CommandError(fields.adapter + ": no such file");
    adapters[path.filename().string()] = upload(session, path, progress);
  }
  if (!files.empty()) request["files"] = files;
  if (!adapters.empty()) request["adapters"] = adapters;
  return request;
}

}  // namespace

std::string create_from_file(const Session& session, const std::string& path) {
  const auto name = server::name_for_file(fs::path(path).filename().string());
  if (!name) throw CommandError(path + ": expected a file name that begins with a letter or a digit");
  json::object request{{"model", name->model()}, {"named_after_file", true}}, files;
  try {  // before gigabytes are read and copied; a server that does not know the question says nothing to it
    session.client->send("POST", "/api/create", json::object{{"model", name->model()}, {"named_after_file", true}, {"check", true}, {"stream", false}});
  } catch (const ApiError& error) {
    if (error.status() == 409) throw;
  }
  {
    ProgressLine progress;
    for (const fs::path& file : model_files(path)) files[file.filename().string()] = upload(session, file, progress);
  }
  request["files"] = files;
  create_with_progress(*session.client, request);
  return text_of(request, "model");
}

int command_create(const std::vector<std::string>& words) {
  std::optional<std::string> file, quantize;
  CommandLine line("create", "MODEL", "Create a model");
  line.value("-f,--file", file, "Name of the Modelfile (default \"Modelfile\")");
  line.value("-q,--quantize", quantize, "Quantize model to this level (e.g. q4_K_M)");
  line.arguments(1, 1);
  if (!line.parse(words)) return 0;
  if (!server::ModelName::parse(line.args()[0])) throw CommandError("invalid model name: " + line.args()[0]);
  fs::path path = file.value_or("Modelfile");
  std::error_code ignored;
  if (!file && !fs::exists(path, ignored)) {
    // As Ollama: without a Modelfile the model files of this folder are meant.
    path.clear();
  }
  const std::string text = path.empty() ? "FROM .\n" : read_modelfile(path);
  const fs::path folder = path.empty() ? fs::current_path() : fs::absolute(path).parent_path();
  const server::Modelfile modelfile = server::parse_modelfile(text);

  const Session session = open_session();
  json::object request;
  {
    ProgressLine progress;
    progress.update("gathering model components");
    request = create_request(session, modelfile, folder, progress);
  }
  request["model"] = line.args()[0];
  if (quantize) request["quantize"] = *quantize;
  create_with_progress(*session.client, request);
  return 0;
}

}  // namespace olx::cli
