#pragma once
// Store: the models folder, laid out as Ollama's, so that one filled by Ollama is used as it is. A blob gets its name only
// when its bytes are verified and on disk, a manifest only after all its blobs; nothing is deleted while a manifest is unreadable.
// Every function may be called from any thread and by several processes; failures throw std::system_error or FormatError.

#include <chrono>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <system_error>
#include <vector>

#include "server/store/digest.h"
#include "server/store/files.h"
#include "server/store/layout.h"
#include "server/store/manifest.h"
#include "server/store/model_name.h"

namespace olx::server {

inline constexpr uint64_t kDefaultSpareBytes = 2ull << 30;

// A model that is there: its name in the spelling on disk.
struct StoredModel {
  ModelName name;
  Manifest manifest;
  Digest digest;  // of the manifest's bytes: the model's id
  int64_t modified_ns = 0;  // Unix time
};

// A blob being written. Dropped without commit() it leaves nothing.
class BlobWriter {
 public:
  BlobWriter(BlobWriter&&) = default;
  ~BlobWriter();
  void write(std::string_view bytes);
  // All of a file, as the first thing that is written: without a copy. False, and nothing done, where the file system does
  // not share blocks.
  bool share(const File& source);
  void copy(const File& source, const std::function<void(uint64_t)>& on_progress = {});
  uint64_t size_bytes() const { return size_bytes_; }
  // Makes it a blob of the store and returns its digest, that of the bytes as they are read back from the file. With `expected`,
  // other bytes are dropped and not published.
  Digest commit(const std::optional<Digest>& expected = std::nullopt);

 private:
  friend class Store;
  BlobWriter(std::filesystem::path blobs, std::filesystem::path temporary, File file);
  void hash_from_file();
  std::filesystem::path blobs_, temporary_;
  File file_;
  Sha256 hash_;
  uint64_t size_bytes_ = 0, n_hashed_ = 0;
  std::vector<char> buffer_;
};

// Blobs that a piece of work still needs although no manifest names them yet: while it lives, in whatever process, none of them
// is swept. For work that takes too long to hold() the store. A lock on the lease's file says that its process lives, which the
// kernel drops with it: no clock, no process id that another process may have got.
class Lease {
 public:
  Lease(Lease&&) = default;
  ~Lease();

 private:
  friend class Store;
  Lease(std::filesystem::path path, File file) : path_(std::move(path)), file_(std::move(file)) {}
  std::filesystem::path path_;
  File file_;
};

class Store {
 public:
  // Creates the folders where they are missing. Where that is not allowed and models are there, they can be used, and what would
  // write throws.
  explicit Store(std::filesystem::path folder);
  bool can_write() const { return !closed_; }
  void check_can_write() const;  // throws, and names the folder on standard error: errors may go to clients of other machines

  const std::filesystem::path& folder() const { return at_.folder; }
  const StoreLayout& layout() const { return at_; }
  std::filesystem::path blob_path(const Digest& digest) const;
  bool has_blob(const Digest& digest) const;
  uint64_t blob_size(const Digest& digest) const;  // throws when missing
  // StoreError kNoRoom when so many bytes more would leave less than the spare room free on the disk. Said before the work
  // begins: a disk that is full in the middle of it fails other programs too.
  void check_room(uint64_t n_bytes) const;
  void set_spare_bytes(uint64_t n_bytes) { spare_bytes_ = n_bytes; }  // before others use the store
  // Whole blob as text; throws when missing or longer.
  std::string read_blob(const Digest& digest, uint64_t max_bytes) const;
  BlobWriter new_blob();
  // A file of this machine as a blob. on_progress gets the bytes copied so far and may throw to stop.
  Digest import_file(const std::filesystem::path& path, const std::function<void(uint64_t)>& on_progress = {});
  Layer add_layer(std::string_view media_type, std::string_view bytes);
  // Where the bytes of an unfinished download lie; what goes with them has this name and another ending: .journal, .lock.
  std::filesystem::path part_path(const Digest& digest) const;
  // Makes the part file of `part_of`, whose bytes as they are on the disk are those of `digest`, a blob.
  void adopt_part(const Digest& part_of, const Digest& digest, File part);
  // Whether the blob is there, in this size, with the right bytes. A blob that others may write to is hashed once, and then
  // closed to writing: so the next time its mode tells. on_progress may throw to stop.
  bool verify_blob(const Digest& digest, uint64_t size_bytes, const std::function<void(uint64_t)>& on_progress = {});
  // Blobs that another program wrote without syncing them (Ollama does not) may be torn when the machine went down since: end()
  // syncs them at a clean stop and writes down which they were, begin() reads that at the server's start, and may_be_torn() says
  // it of a blob. By name, size and time of change, not by what is older than the stop: clocks jump. A process that is killed costs
  // nothing: what it wrote is the kernel's. verify_blob() settles it for good.
  void begin(const std::string& boot_id = this_boot());
  void end(const std::string& boot_id = this_boot());
  bool may_be_torn(const Digest& digest) const;
  static std::string this_boot();  // of the machine; another one each time it starts
  // A blob that is there goes into a new manifest: it counts as new from now on, and is on disk even if who wrote it did not care.
  void reuse(const Digest& digest);

  // Held while a model is put together from blobs: no blob is swept meanwhile.
  FileLock hold() const;
  Lease lease(const std::vector<Digest>& digests);

  std::optional<StoredModel> find(const ModelName& name) const;
  // Newest first; files that are no manifests are left out.
  std::vector<StoredModel> list() const;
  void write_manifest(const ModelName& name, const Manifest& manifest);
  // A manifest as it came from elsewhere: its digest stays what it was. The blobs must be there, and parse_manifest() take it.
  enum class Origin { kMade, kPulled };
  void write_manifest_text(const ModelName& name, std::string_view bytes, Origin origin);
  std::optional<std::string> manifest_text(const ModelName& name) const;
  // Whether the model under this name was made, or copied to it, on this machine. It is written down with each manifest; where
  // another program wrote the manifest since, its last byte tells: Ollama ends its own ones with a newline, and its library sends
  // them without.
  bool is_made_here(const ModelName& name) const;
  // False when `source` is not there.
  bool copy(const ModelName& source, const ModelName& destination);
  // Removes the manifest and the blobs that only it used. False when it is not there.
  bool remove(const ModelName& name);
  // Removes those blobs of `manifest` that no manifest uses any more.
  void drop_unused(const Manifest& manifest);
  void drop_unused(const std::vector<Digest>& blobs);  // the same
  // At start: removes blobs older than min_age that nothing uses. Returns how many.
  int prune(std::chrono::seconds min_age);
  // At start: gives blobs with an old name of Ollama's their new one; removes temporary files and leases whose process is gone, manifests kept from before, and downloads that nobody went
  // on with for a week. Returns how many files it removed; none while another process is at work in the store.
  int clean_leftovers();

 private:
  // The spelling on disk of a name, part by part ignoring case.
  ModelName on_disk(const ModelName& name) const;
  BlobWriter make_blob();  // hold() is held
  // Every digest in use; nullopt when a manifest or a lease is unreadable.
  std::optional<std::set<Digest>> used() const;
  bool sweep(const std::string& blob_name);
  void write_origin(const ModelName& spelled, const Digest& manifest, Origin origin);
  void drop_old_origins();
  bool is_suspected(const std::string& file_name, const FileInfo& info) const;  // a blob of another program

  StoreLayout at_;
  std::error_code closed_;  // why nothing can be written
  uint64_t spare_bytes_ = kDefaultSpareBytes;
  bool may_have_torn_ = false;  // the machine went down since the last clean stop
  std::map<std::string, std::string> known_whole_;  // blobs of other programs that were synced at that stop
};

// Reads the digests of a lease. Throws FormatError.
std::vector<Digest> read_lease(const std::filesystem::path& path);

}  // namespace olx::server
