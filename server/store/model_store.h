#pragma once
// ModelStore: models as users know them, over the files of Store: what is installed, what a model consists of, and how one is
// made. The API's handlers call it from any thread; several processes may share one folder. It knows nothing of HTTP and runs no
// model. Every function throws StoreError or, when the disk fails, std::system_error.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "engine/value.h"
#include "server/store/digest.h"
#include "server/store/manifest.h"
#include "server/store/model_config.h"
#include "server/store/model_name.h"
#include "server/store/store.h"
#include "server/store/store_error.h"

namespace olx::server {

struct ModelDetails {
  std::string parent_model;
  std::string format;
  std::string family;
  std::vector<std::string> families;
  std::string parameter_size;      // "8.0B"
  std::string quantization_level;  // "Q4_K_M"
};

struct InstalledModel {
  ModelName name;  // in the spelling on disk
  Manifest manifest;
  Digest digest;            // of the manifest's bytes; hex() is the id the API shows
  uint64_t size_bytes = 0;  // layers and config
  int64_t modified_ns = 0;  // Unix time
  ModelConfig config;
  ModelDetails details;
};

// Name and value, in the order of the params layer. `stop` is a list of strings.
using Parameters = std::vector<std::pair<std::string, engine::Value>>;
// Each a map with "role", "content" and whatever else the layer holds.
using StoredMessages = std::vector<engine::Value>;
// File name, relative and with slashes -> digest text; both as the client sent them.
using NamedDigests = std::vector<std::pair<std::string, std::string>>;

struct ModelContents {
  std::string gguf_path;  // empty when the model has no weights of its own
  std::vector<std::string> projector_paths;
  std::vector<std::string> adapter_paths;
  std::optional<std::string> template_text;  // a Go template; nullopt: the GGUF's own is used
  std::string system;
  Parameters parameters;
  StoredMessages messages;
  std::vector<std::string> licenses;
  ModelConfig config;
};

struct CreateRequest {
  ModelName name;
  std::optional<ModelName> from;             // wins over files
  NamedDigests files;
  NamedDigests adapters;
  std::optional<std::string> template_text;  // replaces; empty: no change (as Ollama)
  std::optional<std::string> system;         // replaces; empty: no change
  Parameters parameters;                     // laid over the base's
  StoredMessages messages;                   // replaces; empty: no change
  std::vector<std::string> licenses;         // added
  std::string renderer, parser, required_version;  // of the config; each replaces unless empty
  bool is_named_after_file = false;          // nobody chose the name: see ModelStore::check_not_taken()
};

class ModelStore {
 public:
  // Makes the folders where they are missing. `folder` is OLLAMA_MODELS.
  // Without drops_replaced (OLLAMA_NOPRUNE) create() leaves the blobs of the model it replaces.
  explicit ModelStore(std::filesystem::path folder, bool drops_replaced = true)
      : store_(std::move(folder)), drops_replaced_(drops_replaced) {}

  // Newest first. A manifest or config that cannot be read is left out and named on standard error.
  std::vector<InstalledModel> list() const;
  // nullopt when there is no such model. Letters match in either case.
  std::optional<InstalledModel> find(const ModelName& name) const;
  // Its layers, read. kNotFound when the model is missing, kDamaged when a blob is, or is not what its layer says.
  ModelContents contents(const ModelName& name) const;
  ModelContents contents(const InstalledModel& model) const;

  // Reads those files of a model once that a power failure may have torn (Store::begin()). kDamaged when one is not what its name
  // says. on_progress may throw to stop. For whoever is about to load it.
  void check_torn(const InstalledModel& model, const std::function<void()>& on_progress);

  // kNotFound when source is missing. Copying onto itself does nothing.
  void copy(const ModelName& source, const ModelName& destination);
  // Removes the manifest, then every blob only it used, unless some manifest is unreadable. kNotFound.
  void remove(const ModelName& name);

  // kTaken when a model of this name is there that is not one such file and nothing else. For names that were taken from a file's:
  // "mistral.gguf" must not cost the "mistral" of a registry, nor one made with a system text of its own.
  void check_not_taken(const ModelName& name) const;

  bool has_blob(const Digest& digest) const { return store_.has_blob(digest); }
  std::string blob_path(const Digest& digest) const { return store_.blob_path(digest).string(); }
  BlobWriter new_blob() { return store_.new_blob(); }  // for bytes that arrive piece by piece

  using OnStatus = std::function<void(const std::string&)>;
  // Builds the layers, then publishes the manifest; on_status gets Ollama's lines, "success" last. Until the manifest has its name
  // the model is what it was, whatever happens; what on_status throws ends the work the same way. kInvalid: the request is wrong;
  // kTaken: see check_not_taken().
  void create(const CreateRequest& request, const OnStatus& on_status);

  // Removes blobs that no manifest names and no one touched for a day. For the server's start.
  // Deletes nothing while a manifest is unreadable. Returns how many files it removed.
  int prune() { return store_.prune(std::chrono::hours(24)); }
  // Removes what killed processes left half done; for the server's start, whether or not it prunes. Returns how many.
  int clean_leftovers() { return store_.clean_leftovers(); }

  const std::filesystem::path& folder() const { return store_.folder(); }
  // The files themselves, for what comes from and goes to registries.
  Store& files() { return store_; }
  bool drops_replaced() const { return drops_replaced_; }

 private:
  InstalledModel describe(StoredModel stored) const;
  Store store_;
  bool drops_replaced_;
  std::mutex mutex_;  // of checked_
  std::set<Digest> checked_;  // whole, although the file of another user cannot be marked so
};

}  // namespace olx::server
