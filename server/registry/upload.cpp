#include "server/registry/upload.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <optional>
#include <set>

namespace olx::server {
namespace {

using Kind = NetworkError::Kind;
constexpr uint64_t kChunkBytes = 64 << 20;  // of one PATCH

// Where the next request of an upload goes; Ollama's registry has a header of its own for it.
std::string next_location(const HttpReply& reply) {
  for (const char* name : {"Docker-Upload-Location", "Location"})
    if (const std::string* location = reply.header(name); location != nullptr && !location->empty()) return *location;
  throw NetworkError(Kind::kFatal, "the registry did not say where to upload to");
}

// How many bytes a registry says it has: "0-<last>" in a Range header.
std::optional<uint64_t> bytes_held(const HttpReply& reply) {
  const std::string* text = reply.header("Range");
  if (text == nullptr) return std::nullopt;
  const size_t dash = text->find('-');
  uint64_t last = 0;
  if (dash == std::string::npos) return std::nullopt;
  const char* begin = text->data() + dash + 1;
  const auto [end, error] = std::from_chars(begin, text->data() + text->size(), last);
  if (error != std::errc() || end != text->data() + text->size()) return std::nullopt;
  return last == 0 ? 0 : last + 1;  // "0-0" is what an empty upload says
}

class Upload {
 public:
  Upload(Registry& registry, HttpClient& client, const File& file, const Layer& layer, const TransferClient& told)
      : registry_(registry), client_(client), file_(file), layer_(layer), told_(told),
        progress_{"pushing " + layer.digest.hex().substr(0, 12), layer.digest.text(), layer.size_bytes, 0} {}

  void run(const std::string& mount_from) {
    for (int n_failed = 1;; ++n_failed) {
      try {
        return try_once(mount_from);
      } catch (const NetworkError& error) {
        if (error.kind() != Kind::kRetry) throw;
        if (n_failed >= registry_.options().max_tries)
          throw NetworkError(Kind::kFatal, std::string("max retries exceeded: ") + error.what(), error.status());
        registry_.back_off(client_, n_failed);
      }
    }
  }

 private:
  void try_once(const std::string& mount_from) {
    tell(0);
    if (is_there()) return tell(layer_.size_bytes);
    std::string start = registry_.path("blobs/uploads/");
    if (!mount_from.empty()) start += "?mount=" + percent_encoded(layer_.digest.text()) + "&from=" + percent_encoded(mount_from);
    HttpReply reply = registry_.send(client_, "POST", start);
    client_.read_all(kMaxAnswerBytes);
    if (reply.status == 201) return tell(layer_.size_bytes);  // mounted: it was in the other repository
    std::string location = next_location(reply);
    for (uint64_t begin = 0; begin < layer_.size_bytes;) begin = send_chunk(begin, location);
    location += location.find('?') == std::string::npos ? '?' : '&';
    send("PUT", location + "digest=" + percent_encoded(layer_.digest.text()));
    client_.read_all(kMaxAnswerBytes);
    tell(layer_.size_bytes);
  }

  // To the upload's address. One that is not there any more may have been finished by a request whose answer was lost: the blob is
  // asked for again then.
  HttpReply send(const char* method, const std::string& location, const Registry::Headers& headers = {}, const HttpBody* body = nullptr) {
    try {
      return registry_.send(client_, method, location, headers, body);
    } catch (const NetworkError& error) {
      if (error.status() != 404) throw;
      throw NetworkError(Kind::kRetry, "the registry lost the upload", 404);
    }
  }

  bool is_there() {
    try {
      registry_.send(client_, "HEAD", registry_.path("blobs/" + layer_.digest.text()));
      return true;
    } catch (const NetworkError& error) {
      if (error.status() != 404) throw;
      return false;
    }
  }

  // Returns where the next chunk begins.
  uint64_t send_chunk(uint64_t begin, std::string& location) {
    const uint64_t size = std::min(kChunkBytes, layer_.size_bytes - begin);
    const HttpBody body{size, [&](uint64_t offset, std::span<char> out) {
                          tell(begin + offset);
                          return file_.read_at(out, begin + offset);
                        }};
    const Registry::Headers headers = {{"Content-Type", "application/octet-stream"},
                                       {"Content-Range", std::to_string(begin) + "-" + std::to_string(begin + size - 1)}};
    try {
      const HttpReply reply = send("PATCH", location, headers, &body);
      client_.read_all(kMaxAnswerBytes);
      location = next_location(reply);
      n_failed_ = 0;
      return begin + size;
    } catch (const NetworkError& error) {
      if (error.kind() != Kind::kRetry || ++n_failed_ >= registry_.options().max_tries) throw;
    }
    registry_.back_off(client_, n_failed_);
    // What it has of the chunk stays; sending that again would put it in twice.
    const HttpReply state = send("GET", location);
    client_.read_all(kMaxAnswerBytes);
    const auto held = bytes_held(state);
    if (!held || *held > begin + size) throw NetworkError(Kind::kRetry, "the registry lost the upload");
    if (state.header("Location") != nullptr || state.header("Docker-Upload-Location") != nullptr) location = next_location(state);
    return *held;
  }

  void tell(uint64_t completed) {
    const auto now = std::chrono::steady_clock::now();
    const bool is_end = completed == layer_.size_bytes || completed == 0;
    if (!is_end && now - told_at_ < std::chrono::milliseconds(kProgressMs)) return;
    told_at_ = now;
    progress_.completed_bytes = completed;
    told_.on_progress(progress_);
  }

  static constexpr size_t kMaxAnswerBytes = 64 << 10;
  Registry& registry_;
  HttpClient& client_;
  const File& file_;
  const Layer& layer_;
  const TransferClient& told_;
  TransferProgress progress_;
  std::chrono::steady_clock::time_point told_at_;
  int n_failed_ = 0;
};

// The repository of a layer's "from" on this registry; "" when it is a file name or of elsewhere.
std::string mount_source(const Layer& layer, const Registry& registry) {
  const auto from = layer.from.empty() ? std::nullopt : ModelName::parse(layer.from);
  if (!from || from->host() != registry.name().host()) return "";
  const std::string repository = from->name_space() + "/" + from->model();
  return repository == registry.repository() ? "" : repository;
}

}  // namespace

void push_model(ModelStore& models, const ModelName& name, bool is_insecure, const RegistryOptions& options, const TransferClient& told) {
  Store& store = models.files();
  told.on_progress({"retrieving manifest"});
  const std::optional<std::string> text = store.manifest_text(name);
  if (!text) {
    told.on_progress({"couldn't retrieve manifest"});
    throw StoreError(StoreError::Kind::kNotFound, "model '" + name.shortest() + "' not found");
  }
  const Manifest manifest = parse_manifest(*text);
  Registry registry(name, is_insecure, options);
  HttpClient client(registry.http_options(told.is_gone));
  std::vector<Layer> layers = manifest.layers;
  layers.push_back(manifest.config);
  std::vector<Digest> digests;
  for (const Layer& layer : layers) digests.push_back(layer.digest);
  // A model that is removed meanwhile is still sent whole; a store that this user may only read can be sent from too.
  const std::optional<Lease> lease = store.can_write() ? std::optional(store.lease(digests)) : std::nullopt;
  std::set<Digest> sent;
  for (const Layer& layer : layers) {
    if (!sent.insert(layer.digest).second) continue;
    const bool is_whole = store.verify_blob(layer.digest, layer.size_bytes, [&](uint64_t) { client.check_cancelled(); });
    if (!is_whole)
      throw StoreError(StoreError::Kind::kDamaged, "model '" + name.shortest() + "' is damaged: blob " + layer.digest.text() + " is not what its name says");
    const File file = File::open_for_reading(store.blob_path(layer.digest));
    Upload(registry, client, file, layer, told).run(mount_source(layer, registry));
  }
  told.on_progress({"pushing manifest"});
  const HttpBody body{text->size(), [&](uint64_t offset, std::span<char> out) {
                        return text->copy(out.data(), out.size(), static_cast<size_t>(offset));
                      }};
  for (int n_failed = 1;; ++n_failed) {
    try {
      registry.send(client, "PUT", registry.path("manifests/" + name.tag()), {{"Content-Type", std::string(media_type::kManifest)}}, &body);
      break;
    } catch (const NetworkError& error) {
      if (error.kind() != Kind::kRetry || n_failed >= options.max_tries) throw;
      registry.back_off(client, n_failed);
    }
  }
  told.on_progress({"success"});
}

}  // namespace olx::server
