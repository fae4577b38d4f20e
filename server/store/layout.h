#pragma once
// StoreLayout: where everything in a models folder lies. blobs/ and manifests/ are Ollama's; what only this program knows is
// kept apart in .ollamax/, because Ollama removes files with other names from blobs/ and takes every file in manifests/ for a
// model. Used by the store and by fsck; it touches no disk but in follow_disks().

#include <filesystem>
#include <utility>

#include "server/store/digest.h"
#include "server/store/model_name.h"

namespace olx::server {

struct StoreLayout {
  explicit StoreLayout(std::filesystem::path models)
      : folder(std::move(models)), blobs(folder / "blobs"), manifests(folder / "manifests"), own(folder / ".ollamax"),
        temporary(own / "tmp"), small(temporary), leases(own / "lease"), previous(own / "prev"), origins(own / "origin"),
        quarantine(own / "quarantine"), blob_quarantine(quarantine), lock(own / "lock"), clean(own / "clean") {}

  std::filesystem::path folder, blobs, manifests;
  std::filesystem::path own;
  std::filesystem::path temporary;   // blobs being written; downloads that can go on; blobs on their way out
  std::filesystem::path small;       // manifests being written. The same folder, unless follow_disks() parted them
  std::filesystem::path leases;      // one file for each Lease
  std::filesystem::path previous;    // the manifest a model had before, until the next start
  std::filesystem::path origins;     // where each manifest came from
  std::filesystem::path quarantine;  // what fsck took out
  std::filesystem::path blob_quarantine;  // the same folder, unless follow_disks() parted them
  std::filesystem::path lock;        // shared: the store is used; exclusive: something is removed
  std::filesystem::path clean;       // of the last clean stop: the boot id of then, and which blobs of other programs were synced

  // A file can only be renamed within its disk. Where blobs/ or manifests/ lies on another one, by a link or a mount, what comes
  // into it and goes out of it is there too: in a folder .ollamax, of which Ollama takes no notice.
  void follow_disks();
  std::filesystem::path manifest(const ModelName& name) const { return manifests / name.path(); }
  // Flat, so that no folder has to be made and removed with it.
  std::filesystem::path previous_manifest(const ModelName& name) const;
  // Of one manifest of a model: of another one nothing is said.
  std::filesystem::path origin(const ModelName& name, const Digest& manifest) const;
};

// Of what lies in `temporary`.
enum class TemporaryKind {
  kBeingWritten,  // a process holds it
  kDownload,      // <digest>.part, .journal and .lock of a download that can go on
  kLeftover,      // its process was killed
};
TemporaryKind kind_of_temporary(const StoreLayout& layout, const std::string& file_name);

}  // namespace olx::server
