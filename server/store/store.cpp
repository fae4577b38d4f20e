#include "server/store/store.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

namespace olx::server {
namespace fs = std::filesystem;

BlobWriter::BlobWriter(fs::path blobs, fs::path temporary)
    : blobs_(std::move(blobs)), temporary_(std::move(temporary)),
      file_(File::create_exclusively(temporary_, 0644)) {}

BlobWriter::~BlobWriter() {
  if (temporary_.empty() || !file_.is_open()) return;
  std::error_code ignored;
  fs::remove(temporary_, ignored);
}

void BlobWriter::write(std::string_view bytes) {
  file_.write_all(bytes);
  hash_.update(bytes);
  size_bytes_ += bytes.size();
}

Digest BlobWriter::commit(const std::optional<Digest>& expected) {
  const Digest digest = hash_.finish();
  if (expected && *expected != digest) return digest;  // the destructor removes the file
  file_.sync();
  fs::permissions(temporary_, fs::perms::owner_read | fs::perms::group_read | fs::perms::others_read);
  publish(temporary_, blobs_ / digest.file_name());
  file_.close();
  return digest;
}

Store::Store(fs::path folder)
    : folder_(std::move(folder)), blobs_(folder_ / "blobs"), manifests_(folder_ / "manifests"),
      temporary_(folder_ / ".ollamax" / "tmp"), lock_(folder_ / ".ollamax" / "lock") {
  create_folders(blobs_);
  create_folders(manifests_);
  create_folders(temporary_);
}

fs::path Store::blob_path(const Digest& digest) const { return blobs_ / digest.file_name(); }
// A link is no blob: it could show a file from outside the store.
bool Store::has_blob(const Digest& digest) const { return is_plain_file(blob_path(digest)); }

std::string Store::read_blob(const Digest& digest, uint64_t max_bytes) const {
  std::optional<std::string> text = read_small_file(blob_path(digest), max_bytes);
  if (!text) throw gguf::FormatError("blob " + digest.text() + " is missing");
  return std::move(*text);
}

BlobWriter Store::new_blob() { return BlobWriter(blobs_, temporary_ / unique_name(".part")); }

Layer Store::add_layer(std::string_view media_type, std::string_view bytes) {
  const Digest digest = sha256_of(bytes);
  std::error_code unreadable;
  // A blob of another length was cut short by whoever wrote it: it is written again.
  if (has_blob(digest) && fs::file_size(blob_path(digest), unreadable) == bytes.size()) {
    std::error_code ignored;  // young again, so that no prune takes it meanwhile
    fs::last_write_time(blob_path(digest), fs::file_time_type::clock::now(), ignored);
  } else {
    BlobWriter blob = new_blob();
    blob.write(bytes);
    blob.commit(digest);
  }
  return Layer{std::string(media_type), digest, bytes.size(), {}};
}

FileLock Store::hold() const { return FileLock::shared(lock_); }

fs::path Store::manifest_path(const ModelName& name) const { return manifests_ / name.path(); }

namespace {

// What a folder holds. A folder that has just gone holds nothing: another process may remove a model at any time.
std::vector<fs::directory_entry> entries(const fs::path& folder) {
  std::vector<fs::directory_entry> found;
  std::error_code error;
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) found.push_back(*at);
  if (error && error != std::errc::no_such_file_or_directory && error != std::errc::not_a_directory)
    throw std::system_error(error, "read folder " + folder.filename().string());
  return found;
}

bool is_folder(const fs::directory_entry& entry) {
  std::error_code gone;
  return entry.is_directory(gone);
}

}  // namespace

template <class F>
bool Store::each_manifest(F f) const {
  bool is_clean = true;
  const auto part = [](const auto& entry) { return entry.path().filename().string(); };
  for (const auto& host : entries(manifests_)) {
    if (!is_folder(host)) continue;
    for (const auto& name_space : entries(host.path())) {
      if (!is_folder(name_space)) continue;
      for (const auto& model : entries(name_space.path())) {
        if (!is_folder(model)) continue;
        for (const auto& tag : entries(model.path())) {
          if (is_folder(tag)) continue;
          const auto name = ModelName::parse(part(host) + "/" + part(name_space) + "/" + part(model) + ":" + part(tag));
          std::error_code error;
          const bool is_gone = !fs::exists(fs::symlink_status(tag.path(), error));
          if (name && name->path() == tag.path().lexically_relative(manifests_).generic_string() &&
              is_plain_file(tag.path())) {
            f(*name, tag.path());
          } else if (!is_gone) {
            is_clean = false;
          }
        }
      }
    }
  }
  return is_clean;
}

ModelName Store::on_disk(const ModelName& name) const {
  if (is_plain_file(manifest_path(name))) return name;
  ModelName found = name;
  int n_shared = 0;
  each_manifest([&](const ModelName& other, const fs::path&) {
    const int n = other.n_shared_parts(name);
    const ModelName spelled = name.spelled_like(other);
    if (n < n_shared || (n == n_shared && spelled != name)) return;
    found = spelled;
    n_shared = n;
  });
  return found;
}

std::optional<StoredModel> Store::find(const ModelName& name) const {
  const ModelName spelled = on_disk(name);
  const fs::path path = manifest_path(spelled);
  const std::optional<std::string> text = read_small_file(path, kMaxManifestBytes);
  std::error_code gone;
  const auto modified = fs::last_write_time(path, gone);
  if (!text || gone) return std::nullopt;
  return StoredModel{spelled, parse_manifest(*text), sha256_of(*text), modified};
}

std::vector<StoredModel> Store::list() const {
  std::vector<StoredModel> models;
  each_manifest([&](const ModelName& name, const fs::path&) {
    try {
      if (auto model = find(name)) models.push_back(std::move(*model));
    } catch (const std::exception&) {  // a damaged one is not offered
    }
  });
  std::sort(models.begin(), models.end(), [](const StoredModel& a, const StoredModel& b) {
    return a.modified != b.modified ? a.modified > b.modified : a.name < b.name;
  });
  return models;
}

void Store::publish_manifest(const ModelName& name, std::string_view bytes) {
  const fs::path path = manifest_path(on_disk(name));
  // Written outside manifests/: other tools take every file there for a manifest.
  const fs::path temporary = temporary_ / unique_name(".manifest");
  try {
    File file = File::create_exclusively(temporary, 0644);
    file.write_all(bytes);
    file.sync();
    file.close();
    create_folders(path.parent_path());
    publish(temporary, path);
  } catch (...) {
    std::error_code ignored;
    fs::remove(temporary, ignored);
    throw;
  }
}

void Store::write_manifest(const ModelName& name, const Manifest& manifest) {
  publish_manifest(name, manifest_json(manifest));
}

bool Store::copy(const ModelName& source, const ModelName& destination) {
  const FileLock held = hold();
  const ModelName from = on_disk(source);
  const std::optional<std::string> text = read_small_file(manifest_path(from), kMaxManifestBytes);
  if (!text) return false;
  parse_manifest(*text);
  if (on_disk(destination) != from) publish_manifest(destination, *text);
  return true;
}

bool Store::remove(const ModelName& name) {
  const ModelName spelled = on_disk(name);
  fs::path path = manifest_path(spelled);
  const std::optional<std::string> text = read_small_file(path, kMaxManifestBytes);
  if (!text) return false;
  std::optional<Manifest> manifest;
  try {
    manifest = parse_manifest(*text);
  } catch (const gguf::FormatError&) {  // a damaged manifest can still be removed; its blobs wait for prune()
  }
  fs::remove(path);
  sync_folder(path.parent_path());
  for (int level = 0; level < 3; ++level) {
    path = path.parent_path();
    std::error_code not_empty;
    if (!fs::remove(path, not_empty)) break;
  }
  if (manifest) drop_unused(*manifest);
  return true;
}

std::optional<std::set<Digest>> Store::used() const {
  std::set<Digest> digests;
  bool is_clean = true;
  try {
    is_clean = each_manifest([&](const ModelName&, const fs::path& path) {
      const auto text = read_small_file(path, kMaxManifestBytes);
      if (!text) return;
      const Manifest manifest = parse_manifest(*text);
      digests.insert(manifest.config.digest);
      for (const Layer& layer : manifest.layers) digests.insert(layer.digest);
    });
  } catch (const std::exception&) {  // whatever it names may be in use
    is_clean = false;
  }
  if (!is_clean) return std::nullopt;
  return digests;
}

void Store::sweep(const std::vector<Digest>& candidates) {
  const auto in_use = used();
  if (!in_use) return;
  for (const Digest& digest : candidates) {
    if (in_use->contains(digest)) continue;
    std::error_code ignored;
    fs::remove(blob_path(digest), ignored);
  }
}

void Store::drop_unused(const Manifest& manifest) {
  const auto exclusive = FileLock::try_exclusive(lock_);
  if (!exclusive) return;  // a model is being put together; the next start's prune() finds what is left
  std::vector<Digest> candidates{manifest.config.digest};
  for (const Layer& layer : manifest.layers) candidates.push_back(layer.digest);
  sweep(candidates);
}

int Store::prune(std::chrono::seconds min_age) {
  const auto exclusive = FileLock::try_exclusive(lock_);
  if (!exclusive) return 0;
  const auto in_use = used();
  if (!in_use) return 0;
  int n_removed = 0;
  const auto remove_older = [&](std::chrono::seconds age, const fs::directory_entry& entry) {
    std::error_code error;
    const auto written = entry.last_write_time(error);
    if (error || written > fs::file_time_type::clock::now() - age || !is_plain_file(entry.path())) return;
    if (fs::remove(entry.path(), error)) ++n_removed;
  };
  for (const auto& entry : entries(blobs_)) {
    const auto digest = Digest::parse(entry.path().filename().string());
    if (!digest || !in_use->contains(*digest)) remove_older(min_age, entry);
  }
  // What a process left when it was killed: nobody holds it. The minute is for a file that is not locked yet.
  for (const auto& entry : entries(temporary_))
    if (!is_being_written(entry.path())) remove_older(std::min(min_age, std::chrono::seconds(60)), entry);
  return n_removed;
}

}  // namespace olx::server
