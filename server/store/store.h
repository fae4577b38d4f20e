#pragma once
// Store: the models folder, laid out as Ollama's, so that one filled by Ollama is used as it is. A blob gets its name only
// when its bytes are verified and on disk, a manifest only after all its blobs; nothing is deleted while a manifest is unreadable.
// Every function may be called from any thread and by several processes; failures throw std::system_error or FormatError.

#include <chrono>
#include <filesystem>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "server/store/digest.h"
#include "server/store/files.h"
#include "server/store/manifest.h"
#include "server/store/model_name.h"

namespace olx::server {

// A model that is there: its name in the spelling on disk.
struct StoredModel {
  ModelName name;
  Manifest manifest;
  Digest digest;  // of the manifest's bytes: the model's id
  std::filesystem::file_time_type modified;
};

// A blob being written. Dropped without commit() it leaves nothing.
class BlobWriter {
 public:
  BlobWriter(BlobWriter&&) = default;
  ~BlobWriter();
  void write(std::string_view bytes);
  uint64_t size_bytes() const { return size_bytes_; }
  // Makes it a blob of the store and returns its digest. With `expected`, other bytes are dropped and not published.
  Digest commit(const std::optional<Digest>& expected = std::nullopt);

 private:
  friend class Store;
  BlobWriter(std::filesystem::path blobs, std::filesystem::path temporary);
  std::filesystem::path blobs_, temporary_;
  File file_;
  Sha256 hash_;
  uint64_t size_bytes_ = 0;
};

class Store {
 public:
  // Creates the folders where they are missing.
  explicit Store(std::filesystem::path folder);

  const std::filesystem::path& folder() const { return folder_; }
  std::filesystem::path blob_path(const Digest& digest) const;
  bool has_blob(const Digest& digest) const;
  // Whole blob as text; throws when missing or longer.
  std::string read_blob(const Digest& digest, uint64_t max_bytes) const;
  BlobWriter new_blob();
  Layer add_layer(std::string_view media_type, std::string_view bytes);

  // Held while a model is put together from blobs: no blob is swept meanwhile.
  FileLock hold() const;

  std::optional<StoredModel> find(const ModelName& name) const;
  // Newest first; files that are no manifests are left out.
  std::vector<StoredModel> list() const;
  void write_manifest(const ModelName& name, const Manifest& manifest);
  // False when `source` is not there.
  bool copy(const ModelName& source, const ModelName& destination);
  // Removes the manifest and the blobs that only it used. False when it is not there.
  bool remove(const ModelName& name);
  // Removes those blobs of `manifest` that no manifest uses any more.
  void drop_unused(const Manifest& manifest);
  // At start: removes blobs older than min_age that nothing uses, and temporary files whose writer is gone. Returns how many.
  int prune(std::chrono::seconds min_age);

 private:
  // The spelling on disk of a name, part by part ignoring case.
  ModelName on_disk(const ModelName& name) const;
  std::filesystem::path manifest_path(const ModelName& name) const;
  // Calls f(name, path) for every manifest file; returns whether every entry was well named.
  template <class F>
  bool each_manifest(F f) const;
  void publish_manifest(const ModelName& name, std::string_view bytes);
  // Every digest in use; nullopt when a manifest is unreadable.
  std::optional<std::set<Digest>> used() const;
  void sweep(const std::vector<Digest>& candidates);

  std::filesystem::path folder_, blobs_, manifests_, temporary_, lock_;
};

}  // namespace olx::server
