#include "server/registry/pull.h"

#include <list>
#include <map>
#include <optional>
#include <set>

#include "server/registry/file_pull.h"

namespace olx::server {
namespace {

using Kind = NetworkError::Kind;
constexpr int kManifestTries = 3;  // somebody waits, and may have mistyped the host

struct LayerLimit {
  std::string_view media_type;
  uint64_t max_bytes;
};
// The store reads these whole; the rest may be as long as the disk is large.
constexpr LayerLimit kLimits[] = {
    {media_type::kConfig, 1 << 20},   {media_type::kParams, 64 << 10}, {media_type::kTemplate, 256 << 10}, {media_type::kPrompt, 256 << 10},
    {media_type::kSystem, 1 << 20},   {media_type::kMessages, 4 << 20}, {media_type::kLicense, 1 << 20},
};

// The layers to fetch, each digest once, the config last.
std::vector<Layer> layers_to_fetch(const Manifest& manifest) {
  std::vector<Layer> all = manifest.layers, out;
  all.push_back(manifest.config);
  std::map<Digest, uint64_t> sizes;
  for (const Layer& layer : all) {
    for (const LayerLimit& limit : kLimits)
      if (layer.media_type == limit.media_type && layer.size_bytes > limit.max_bytes)
        throw gguf::FormatError("manifest: a layer of type " + layer.media_type + " has at most " + std::to_string(limit.max_bytes) + " bytes, got " +
                                std::to_string(layer.size_bytes));
    if (layer.media_type == "application/vnd.ollama.image.tensor")
      throw gguf::FormatError("this model is made of safetensors layers; expected GGUF");
    const auto [known, is_new] = sizes.emplace(layer.digest, layer.size_bytes);
    if (is_new) out.push_back(layer);
    else if (known->second != layer.size_bytes) throw gguf::FormatError("manifest: blob " + layer.digest.text() + " has two sizes");
  }
  return out;
}

std::string fetch_manifest(Registry& registry, const std::function<bool()>& is_cancelled) {
  HttpClient client(registry.http_options(is_cancelled));
  const std::string path = registry.path("manifests/" + registry.name().tag());
  for (int n_failed = 1;; ++n_failed) {
    try {
      const HttpReply reply = registry.send(client, "GET", path, {{"Accept", std::string(media_type::kManifest)}});
      if (reply.status != 200) throw NetworkError(Kind::kFatal, "unexpected status code " + std::to_string(reply.status), reply.status);
      const std::string text = client.read_all(kMaxManifestBytes);
      if (const std::string* named = reply.header("Docker-Content-Digest"))
        if (const auto digest = Digest::parse(*named); digest && *digest != sha256_of(text))
          throw NetworkError(Kind::kRetry, "digest mismatch: want " + digest->text() + ", got " + sha256_of(text).text());
      return text;
    } catch (const NetworkError& error) {
      if (error.kind() == Kind::kCancelled) throw;
      if (error.kind() != Kind::kRetry || n_failed >= kManifestTries)
        throw NetworkError(Kind::kFatal, std::string("pull model manifest: ") + error.what(), error.status());
      registry.back_off(client, n_failed);
    }
  }
}

void check_disk(Store& store, const std::vector<Layer>& layers) {
  uint64_t needed = 0;
  for (const Layer& layer : layers) {
    if (store.has_blob(layer.digest) || is_plain_file(store.part_path(layer.digest))) continue;
    if (__builtin_add_overflow(needed, layer.size_bytes, &needed)) needed = UINT64_MAX / 2;
  }
  store.check_room(needed);
}

}  // namespace

Digest remote_digest(const ModelName& name, bool is_insecure, const RegistryOptions& options, const std::function<bool()>& is_cancelled) {
  Registry registry(name, is_insecure, options);
  return sha256_of(fetch_manifest(registry, is_cancelled));
}

void pull_model(ModelStore& models, Downloads& downloads, const ModelName& name, bool is_insecure, const RegistryOptions& options,
                const TransferClient& client) {
  Store& store = models.files();
  const auto registry = std::make_shared<Registry>(name, is_insecure, options);
  const auto& on_progress = client.on_progress;
  on_progress({"pulling manifest"});
  std::string text;
  try {
    text = fetch_manifest(*registry, client.is_gone);
  } catch (const NetworkError& error) {
    // Hugging Face's registry gives no manifest of a model in several files, although the files are there.
    if (error.status() != 400 || std::string_view(error.what()).find("sharded GGUF") == std::string_view::npos) throw;
    return pull_split_files(models, downloads, name, is_insecure, options, client);
  }
  const Manifest manifest = parse_manifest(text);
  const std::vector<Layer> layers = layers_to_fetch(manifest);
  std::optional<Manifest> replaced;
  {
    std::vector<Digest> digests;
    for (const Layer& layer : layers) digests.push_back(layer.digest);
    const Lease lease = store.lease(digests);  // nothing of it is swept until the manifest names it, and other work is not held up
    check_disk(store, layers);
    std::list<Downloads::Ticket> tickets;
    for (const Layer& layer : layers) {
      Downloads::Ticket& ticket = tickets.emplace_back(downloads.fetch({.registry = registry, .layer = layer}));
      TransferProgress progress{"pulling " + layer.digest.hex().substr(0, 12), layer.digest.text(), layer.size_bytes, 0};
      while (!ticket.wait_fetched(kProgressMs)) {
        progress.completed_bytes = ticket.completed_bytes();
        on_progress(progress);
      }
      progress.completed_bytes = layer.size_bytes;
      on_progress(progress);
    }
    on_progress({"verifying sha256 digest"});
    for (Downloads::Ticket& ticket : tickets)
      while (!ticket.wait_published(kProgressMs))
        if (client.is_gone()) throw NetworkError(Kind::kCancelled, "request canceled");
    on_progress({"writing manifest"});
    const FileLock held = store.hold();
    try {
      if (const auto old = store.find(name)) replaced = old->manifest;
    } catch (const gguf::FormatError&) {  // a damaged one is replaced too
    }
    store.write_manifest_text(name, text, Store::Origin::kPulled);
  }
  if (replaced && models.drops_replaced()) {
    std::set<Digest> kept;
    for (const Layer& layer : layers) kept.insert(layer.digest);
    Manifest unused{replaced->config, {}};
    for (const Layer& layer : replaced->layers)
      if (!kept.contains(layer.digest)) unused.layers.push_back(layer);
    if (!unused.layers.empty() || !kept.contains(unused.config.digest)) {
      on_progress({"removing unused layers"});
      store.drop_unused(unused);
    }
  }
  on_progress({"success"});
}

}  // namespace olx::server
