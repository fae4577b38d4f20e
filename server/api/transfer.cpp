// POST /api/pull and /api/push: models from and to registries, with a record for each step.
#include "server/api/transfer.h"

#include <boost/json.hpp>
#include <cstdlib>

#include "gguf/value.h"
#include "server/api/model_field.h"
#include "server/registry/file_pull.h"
#include "server/registry/upload.h"

namespace olx::server {
namespace {

namespace json = boost::json;

struct TransferFields {
  std::string text;
  bool is_insecure, is_streaming;
  explicit TransferFields(const Fields& fields)
      : text(model_field(fields)),
        is_insecure(fields.boolean("insecure").value_or(false)),
        is_streaming(fields.boolean("stream").value_or(true)) {}
};

TransferClient client_of(Exchange& exchange, bool is_streaming) {
  return {[&exchange, is_streaming](const TransferProgress& progress) {
            if (exchange.is_gone()) throw ApiError(499, "request canceled");
            if (!is_streaming) return;
            if (!exchange.has_begun()) exchange.begin_stream("application/x-ndjson");
            json::object record{{"status", progress.status}};
            if (!progress.digest.empty()) record["digest"] = progress.digest;
            if (progress.total_bytes > 0) record["total"] = progress.total_bytes;
            if (progress.completed_bytes > 0) record["completed"] = progress.completed_bytes;
            if (!exchange.write(go_json(record) + "\n")) throw ApiError(499, "request canceled");
          },
          [&exchange] { return exchange.is_gone(); }};
}

template <class F>
void run_transfer(const App& app, const std::string& host, F transfer) {
  if (!is_registry_allowed(app.options, host))
    throw ApiError(403, "the registry '" + host + "' is not one that this server may use (see OLLAMAX_REGISTRIES)");
  try {
    transfer();
  } catch (const NetworkError& error) {
    throw ApiError(error.kind() == NetworkError::Kind::kCancelled ? 499 : 500, error.what());
  } catch (const gguf::FormatError& error) {
    throw ApiError(500, error.what());
  }
}

// Whether the model was made on this machine under a plain name, which a registry may happen to have too: "mine" is not Ollama's
// "library/mine".
bool is_made_here(const App& app, const ModelName& name) {
  if (!name.same_ignoring_case(*ModelName::parse(name.model() + ":" + name.tag()))) return false;
  return app.store.files().is_made_here(name);
}

bool is_loopback_name(std::string_view host) { return host == "localhost" || address_kind(host) == AddressKind::kLoopback; }

}  // namespace

bool is_registry_allowed(const ServerOptions& options, std::string_view host) {
  std::string_view list = options.registries;
  // Who can reach this server from elsewhere must not use it to look around in its network.
  if (list.empty()) list = is_loopback_name(options.host) ? "*" : "registry.ollama.ai,ollama.com,hf.co,huggingface.co";
  while (!list.empty()) {
    const size_t comma = std::min(list.find(','), list.size());
    std::string_view entry = list.substr(0, comma);
    list.remove_prefix(std::min(comma + 1, list.size()));
    while (entry.starts_with(' ')) entry.remove_prefix(1);
    while (entry.ends_with(' ')) entry.remove_suffix(1);
    if (entry == "*") return true;
    const auto allowed = parse_url("https://" + std::string(entry)), asked = parse_url("https://" + std::string(host));
    if (allowed && asked && allowed->has_origin_of(*asked)) return true;
  }
  return false;
}

RegistryOptions registry_options(const ServerOptions& options) {
  RegistryOptions registry;
#if defined(__aarch64__)
  constexpr const char* kMachine = "arm64";
#else
  constexpr const char* kMachine = "amd64";
#endif
  // Ollama's registry refuses models to programs it takes for an old Ollama.
  registry.user_agent = "ollama/" + options.api_version + " (" + kMachine + " linux) ollamax/" + options.version;
  const char* home = std::getenv("HOME");
  registry.key_folder = std::filesystem::path(home == nullptr ? "/root" : home) / ".ollama";
  registry.http.stall_timeout_ms = options.registry_stall_ms;
  registry.retry_delay_ms = options.registry_retry_ms;
  return registry;
}

void pull_for(App& app, Exchange& exchange, const ModelName& name, bool is_insecure, bool is_streaming, bool is_all) {
  run_transfer(app, name.host(), [&] {
    TransferClient client = client_of(exchange, is_streaming);
    if (!is_all)
      client.on_progress = [tell = std::move(client.on_progress)](const TransferProgress& progress) {
        if (progress.status != "success") tell(progress);
      };
    pull_model(app.store, app.downloads, name, is_insecure, registry_options(app.options), client);
  });
}

void handle_pull(App& app, Exchange& exchange) {
  const json::value body = parse_body(exchange);
  const TransferFields fields(Fields(body.as_object(), "PullRequest"));
  if (const auto url = parse_file_url(fields.text)) {
    const std::string path = url->target.substr(0, url->target.find('?'));
    const auto file_name = name_for_file(path.substr(path.rfind('/') + 1));
    if (!file_name) throw ApiError(400, "invalid model name");
    if (!url->is_tls() && !fields.is_insecure) throw ApiError(400, "insecure protocol http: use --insecure to fetch a file without TLS");
    run_transfer(app, url->authority(), [&] {
      pull_file(app.store, app.downloads, *file_name, *url, registry_options(app.options), client_of(exchange, fields.is_streaming));
    });
    if (!fields.is_streaming) reply(exchange, json::object{{"status", "success"}});
    return;
  }
  const auto name = ModelName::parse(fields.text);
  if (!name) throw ApiError(400, "invalid model name");
  if (Fields(body.as_object(), "PullRequest").boolean("check").value_or(false)) {
    // Only looks whether the registry has another model under this name; `ollamax list --stale`.
    const auto installed = app.store.find(*name);
    if (!installed) throw ApiError(404, "model '" + fields.text + "' not found");
    if (is_made_here(app, *name)) return reply(exchange, json::object{{"status", "success"}, {"stale", false}, {"made_here", true}});
    run_transfer(app, name->host(), [&] {
      const Digest there = remote_digest(*name, fields.is_insecure, registry_options(app.options), [&] { return exchange.is_gone(); });
      reply(exchange, json::object{{"status", "success"}, {"stale", there != installed->digest}});
    });
    return;
  }
  pull_for(app, exchange, *name, fields.is_insecure, fields.is_streaming);
  if (!fields.is_streaming) reply(exchange, json::object{{"status", "success"}});
}

void handle_push(App& app, Exchange& exchange) {
  const json::value body = parse_body(exchange);
  const TransferFields fields(Fields(body.as_object(), "PushRequest"));
  if (fields.text.empty()) throw ApiError(400, "model is required");
  const auto name = ModelName::parse(fields.text);
  if (!name) throw ApiError(400, "invalid model name");
  run_transfer(app, name->host(), [&] {
    push_model(app.store, *name, fields.is_insecure, registry_options(app.options), client_of(exchange, fields.is_streaming));
  });
  if (!fields.is_streaming) reply(exchange, json::object{{"status", "success"}});
}

}  // namespace olx::server
